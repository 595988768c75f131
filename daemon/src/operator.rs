//! Who works on this machine: the user of a process, by what the kernel and `/etc/passwd` say of it. Knows numbers and
//! names; refuses to know what anybody may do, and believes nothing a process says of itself.
//!
//! Besides the user a process runs as there is the one who signed in to the machine: the kernel keeps that number through
//! `su` and `sudo` (`/proc/PID/loginuid`, set once by PAM), so that it tells who root is. `SUDO_UID` would be a mere claim.

use std::fs;

use crate::registry::access::Person;

/// What the kernel says where nobody signed in.
const NOBODY: u32 = u32::MAX;

impl Person {
    /// The one who runs this process.
    pub fn here() -> Self {
        Self::of(rustix::process::getuid().as_raw(), Some(std::process::id()))
    }

    /// The one who runs another process, whose user the kernel told (SO_PEERCRED) together with its id. A process may end
    /// and its id be given anew between that and this; only who signed in would then be another's.
    pub fn of(uid: u32, pid: Option<u32>) -> Self {
        let login = pid
            .and_then(|pid| fs::read_to_string(format!("/proc/{pid}/loginuid")).ok())
            .and_then(|text| text.trim().parse().ok())
            .filter(|login| *login != NOBODY);
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self {
            uid,
            user: name_in(&passwd, uid).map(str::to_owned),
            login_uid: login,
            login_user: login.and_then(|login| name_in(&passwd, login)).map(str::to_owned),
        }
    }
}

/// The name of a user in the text of passwd(5). Users of a directory service have none there.
fn name_in(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The number of a user in the text of passwd(5).
pub(crate) fn uid_in(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it && !name.is_empty())?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{Person, name_in, uid_in};

    /// Names are found by number, and numbers by name; what is no line of passwd(5) is passed over.
    #[test]
    fn names() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\n# no line\nana:x:1000:1000::/home/ana:/bin/sh\n";
        assert_eq!(name_in(passwd, 0), Some("root"));
        assert_eq!(name_in(passwd, 1000), Some("ana"));
        assert_eq!(name_in(passwd, 1), None);
        assert_eq!([uid_in(passwd, "ana"), uid_in(passwd, "root"), uid_in(passwd, "an")], [Some(1000), Some(0), None]);
        assert_eq!([uid_in(passwd, ""), uid_in(passwd, "# no line")], [None, None]);
    }

    /// The one who runs the test.
    #[test]
    fn here() {
        assert_eq!(Person::here().uid, rustix::process::getuid().as_raw());
    }
}
