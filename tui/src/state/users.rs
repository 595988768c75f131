//! The list of users, and what was read about the selected one.

use common::api::{User, UserInfo};
use common::client::UserQuery;

use crate::action::RequestId;
use crate::filter::user_query;
use crate::state::marks::Marks;
use crate::window::{Cursor, Row, Window};

/// Rows of a page.
pub const PAGE_ROWS: u32 = 200;

/// The orders there are: their word for the daemon, and for people.
pub const SORTS: [(&str, &str); 4] =
    [("name", "name"), ("role", "role"), ("last_login_at", "last login"), ("created_at", "created")];

impl Row for User {
    fn key(&self) -> String {
        self.id.clone()
    }
}

/// Screen 5.
#[derive(Debug, Clone)]
pub struct UsersScreen {
    /// The users.
    pub list: Window<User>,
    /// Which of them.
    pub filter: String,
    /// The order: a place in [`SORTS`].
    pub sort: usize,
    /// The other way round.
    pub descending: bool,
    /// The detail of the selected user is shown, scrolled by so many lines.
    pub detail: Option<usize>,
    /// The name to select when the page comes: of a user that was just added.
    pub goal: Option<String>,
    /// What was read about that one.
    pub reading: Option<UserReading>,
    /// Marked rows: what is done next is about all of them.
    pub marks: Marks,
}

/// What was read about a user: sessions, who gave the role.
#[derive(Debug, Clone)]
pub struct UserReading {
    /// Whose: the key in the list.
    pub key: String,
    /// When the row was changed last: another time means that it is read again.
    pub updated_at: String,
    /// The answer.
    pub info: Option<Box<UserInfo>>,
    /// The request for it.
    pub pending: Option<RequestId>,
    /// Why it didn't come.
    pub failed: Option<String>,
}

impl Default for UsersScreen {
    fn default() -> Self {
        Self {
            list: Window::new(false),
            filter: String::new(),
            sort: 0,
            descending: false,
            detail: None,
            goal: None,
            reading: None,
            marks: Marks::default(),
        }
    }
}

impl UsersScreen {
    /// The query for the page at a cursor.
    pub fn query(&self, cursor: &Cursor) -> UserQuery {
        let direction = if self.descending { "-" } else { "" };
        UserQuery {
            sort: format!("{direction}{}", SORTS[self.sort].0),
            page: cursor.paging(PAGE_ROWS),
            // A filter that doesn't parse is never set.
            ..user_query(&self.filter).unwrap_or_default()
        }
    }
}
