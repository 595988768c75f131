//! How fast the log is verified, and how soon something wrong in it is noticed.

use std::time::Instant;

use tests::daemon::{ADMIN, ADMIN_PASSWORD};
use tests::tamper::{Proxy, Tamper};

use crate::bed::Bed;
use crate::table::Table;

/// Entries verified at most: enough to tell a rate.
const VERIFIED: u64 = 500_000;

pub(crate) fn measure(bed: &mut Bed, table: &mut Table) {
    let (url, key) = (format!("http://{}", bed.daemon.address()), bed.daemon.ledger().vkey().to_string());
    let token = bed.daemon.admin().token().to_owned();
    let to = VERIFIED.min(bed.entries) - 1;
    let began = Instant::now();
    let setup = tests::pty::Setup::new().env("MREG_TOKEN", &token);
    let verified = setup.output(&["verify", "--url", &url, "--log-key", &key, "--to", &to.to_string()], "");
    let took = began.elapsed().as_secs_f64();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let rate = (to + 1) as f64 / took;
    table.say("verification of entries (mreg verify)", ">= 50000 /s", format!("{rate:.0} /s"), rate >= 50_000.0);

    for tamper in [Tamper::Leaf, Tamper::Withhold] {
        let proxy = Proxy::start(bed.daemon.address());
        let setup = tests::pty::Setup::new().args(&["--url", &proxy.url(), "--user", ADMIN, "--log-key", &key]);
        let mut console = setup.start();
        console.wait_for("Password");
        console.press(&format!("{ADMIN_PASSWORD}<Enter>"));
        console.wait_for("* live");
        console.settle();
        proxy.set(tamper.clone());
        let admin = bed.daemon.admin();
        let began = Instant::now();
        for _ in 0..2 {
            admin.patch("/models/nothing", &serde_json::json!({"description": "x"})).expect(404);
        }
        console.wait_for("BROKEN");
        table.at_most(&format!("noticed: {tamper:?}"), 5.0, "s", began.elapsed().as_secs_f64());
        console.signal(rustix::process::Signal::TERM);
        console.wait_end();
    }
}
