//! The forms about passwords and second factors.

use crate::edit::Line;
use crate::secret::Secret;

/// The login dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: Line,
    /// The name is a proposal that nobody touched: the first character typed takes its place.
    pub is_proposed: bool,
    /// The proof.
    pub password: Line,
    /// The code of the second factor, once the daemon has asked for it.
    pub code: Option<Line>,
    /// Whether the cursor is in the password.
    pub at_password: bool,
    /// Whether it is in the code; then neither name nor password is being typed.
    pub at_code: bool,
    /// Whether it is in the box below; then neither name nor password is being typed.
    pub at_box: bool,
    /// Whether the daemon is being asked.
    pub busy: bool,
    /// Whether the messages are read meanwhile, which lie over it then.
    pub reads_messages: bool,
    /// Why it is asked, or why it failed.
    pub reason: Option<String>,
    /// Whether that is what was wrong with what was typed: it goes once that is edited.
    pub is_refused: bool,
    /// It came unasked, in the midst of something else: keys count after a frame with a higher number than this was written.
    pub shown_after: Option<u64>,
}

impl Login {
    /// An empty dialog for this user, with the reason it appears. Where it is known who it is, the password is asked for.
    pub fn new(user: &str, reason: Option<String>) -> Self {
        Self {
            user: Line::new(user),
            is_proposed: false,
            password: Line::hidden(),
            code: None,
            at_code: false,
            at_password: !user.is_empty(),
            at_box: false,
            busy: false,
            reads_messages: false,
            reason,
            is_refused: false,
            shown_after: None,
        }
    }

    /// The same for whoever comes next: after a session was left on purpose that may be somebody else, so the name is asked for
    /// and this one only proposed.
    pub fn anew(user: &str, reason: Option<String>) -> Self {
        Self { at_password: false, is_proposed: !user.is_empty(), ..Self::new(user, reason) }
    }

    /// What is typed is another: what was wrong with it is no longer.
    pub fn edited(&mut self) {
        if std::mem::take(&mut self.is_refused) {
            self.reason = None;
        }
    }

    /// Takes a character or a pasted text into the name: it takes the place of what was only proposed.
    pub fn replace_proposal(&mut self) {
        if std::mem::take(&mut self.is_proposed) {
            self.user.clear();
        }
    }

    /// Whether a letter typed now is part of a text.
    pub fn types(&self) -> bool {
        self.at_password || self.at_code
    }
}

/// The form for a new password of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPassword {
    /// The password that was signed in with, if it was typed here.
    pub old: Line,
    /// The new one, twice.
    pub new: [Line; 2],
    /// Which of the three is being typed: 0 is the old one.
    pub field: usize,
    /// Whether nothing else may be done before.
    pub is_demanded: bool,
    /// Whether the daemon is being asked.
    pub busy: bool,
    /// Why it failed.
    pub reason: Option<String>,
}

impl NewPassword {
    /// A form; the old password is filled in where it is known.
    pub fn new(old: Option<&Secret>, is_demanded: bool) -> Self {
        let mut line = Line::hidden();
        if let Some(old) = old {
            line.insert(old.expose());
        }
        let field = usize::from(old.is_some());
        Self { old: line, new: [Line::hidden(), Line::hidden()], field, is_demanded, busy: false, reason: None }
    }

    /// The line being typed.
    pub fn line(&mut self) -> &mut Line {
        match self.field {
            0 => &mut self.old,
            1 => &mut self.new[0],
            _ => &mut self.new[1],
        }
    }
}

/// The form for a second factor of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrol {
    /// How far it is.
    pub stage: EnrolStage,
    /// What is typed: the password, then the code.
    pub line: Line,
    /// Whether nothing else may be done before.
    pub is_demanded: bool,
    /// Whether the daemon is being asked.
    pub busy: bool,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How far the setting up of a second factor is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolStage {
    /// The password is asked for.
    Password,
    /// The secret is shown, and a code of it asked for.
    Code {
        /// In base32.
        secret: Secret,
        /// The same as a URI.
        uri: Secret,
    },
    /// It is on; the recovery codes are shown.
    Done(Vec<Secret>),
}

impl Enrol {
    /// An empty form.
    pub fn new(is_demanded: bool) -> Self {
        Self { stage: EnrolStage::Password, line: Line::hidden(), is_demanded, busy: false, reason: None }
    }
}

/// The secret as it is read and typed best: in groups of four.
pub fn grouped_secret(secret: &str) -> String {
    let mut text = String::with_capacity(secret.len() + secret.len() / 4);
    for (at, char) in secret.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push(' ');
        }
        text.push(char);
    }
    text
}
