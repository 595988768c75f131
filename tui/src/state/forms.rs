//! The two forms about passwords.

use crate::edit::Line;
use crate::secret::Secret;

/// The login dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: Line,
    /// The proof.
    pub password: Line,
    /// Whether the cursor is in the password.
    pub at_password: bool,
    /// Whether it is in the box below; then neither name nor password is being typed.
    pub at_box: bool,
    /// Whether the daemon is being asked.
    pub busy: bool,
    /// Why it is asked, or why it failed.
    pub reason: Option<String>,
}

impl Login {
    /// An empty dialog for this user, with the reason it appears.
    pub fn new(user: &str, reason: Option<String>) -> Self {
        Self {
            user: Line::new(user),
            password: Line::hidden(),
            at_password: !user.is_empty(),
            at_box: false,
            busy: false,
            reason,
        }
    }
}

/// The form for a password that must be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPassword {
    /// The password that was signed in with, if it was typed here.
    pub old: Line,
    /// The new one, twice.
    pub new: [Line; 2],
    /// Which of the three is being typed: 0 is the old one.
    pub field: usize,
    /// Whether the daemon is being asked.
    pub busy: bool,
    /// Why it failed.
    pub reason: Option<String>,
}

impl NewPassword {
    /// A form; the old password is filled in where it is known.
    pub fn new(old: Option<&Secret>) -> Self {
        let mut line = Line::hidden();
        if let Some(old) = old {
            line.insert(old.expose());
        }
        let field = usize::from(old.is_some());
        Self { old: line, new: [Line::hidden(), Line::hidden()], field, busy: false, reason: None }
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
