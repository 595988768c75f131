//! The list of users.

use common::api::User;

use crate::window::{Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;

impl Row for User {
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// Screen 5.
#[derive(Debug, Clone)]
pub struct UsersScreen {
    /// The users, by name.
    pub list: Window<User>,
    /// The detail of the selected user is shown, scrolled by so many lines.
    pub detail: Option<usize>,
}

impl Default for UsersScreen {
    fn default() -> Self {
        Self { list: Window::new(false), detail: None }
    }
}
