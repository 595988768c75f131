//! The list of users: which of them, in what order, which page. By name the index is walked; in any other order, and with a
//! filter, all users are looked at for each page, of which only the page's rows are kept: there are some thousand at most,
//! and memory doesn't grow with them.

use std::cmp::Ordering;

use common::api::{Page, User};
use common::name::UserName;
use common::role::Role;

use crate::clock;
use crate::registry::cursor::{self, Seek, Sought};
use crate::registry::error::RegistryError;
use crate::registry::fetch::{bounded, list_id};
use crate::registry::grants;
use crate::registry::{Inner, render, totp};
use crate::store::View;
use crate::store::records::UserRecord;
use crate::store::view::words;

/// Users read at once.
const PAGE: usize = 500;

/// Orders of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserSort {
    /// By name.
    #[default]
    Name,
    /// By role, the weakest first.
    Role,
    /// By the last sign-in, those without one first.
    LastLogin,
    /// Oldest first.
    Created,
}

/// Which users, in what order.
#[derive(Debug, Clone, Default)]
pub struct UserListing {
    /// Words that must all be in the name, ignoring case; several between double quotes are one.
    pub q: Option<String>,
    /// With this role.
    pub role: Option<Role>,
    /// With none of these roles.
    pub not_roles: Vec<Role>,
    /// Disabled ones, or the others.
    pub disabled: Option<bool>,
    /// The order.
    pub sort: UserSort,
    /// The other way round.
    pub down: bool,
    /// Rows of a page, 1..1000.
    pub limit: usize,
    /// Which page.
    pub seek: Seek,
}

/// Where a user stands in an order.
type Place = (i64, UserName);

impl UserListing {
    fn takes(&self, user: &UserRecord) -> bool {
        self.q.as_ref().is_none_or(|text| words(&text.to_lowercase()).all(|word| user.name.as_str().contains(word)))
            && self.role.is_none_or(|role| user.role == role)
            && !self.not_roles.contains(&user.role)
            && self.disabled.is_none_or(|disabled| user.disabled == disabled)
    }

    fn is_whole(&self) -> bool {
        self.q.is_none() && self.role.is_none() && self.not_roles.is_empty() && self.disabled.is_none()
    }

    fn place(&self, user: &UserRecord) -> Place {
        let key = match self.sort {
            UserSort::Name => 0,
            UserSort::Role => Role::ALL.iter().position(|role| *role == user.role).map_or(0, |place| place as i64),
            UserSort::LastLogin => user.last_login_at_ms.unwrap_or(i64::MIN),
            UserSort::Created => user.created_at_ms,
        };
        (key, user.name.clone())
    }
}

/// A page of the list.
///
/// # Errors
/// `Invalid` for the cursor.
pub(super) fn page(inner: &Inner, view: &dyn View, listing: &UserListing) -> Result<Page<User>, RegistryError> {
    let UserListing { q, role, not_roles, disabled, sort, down, limit, seek } = listing;
    let of = list_id("users", &(q, role, not_roles, disabled, sort, down));
    let sought = cursor::seek::<Place>(&of, seek)?;
    // One more than asked tells whether there is another page.
    let limit = bounded(*limit);
    let is_walk = *sort == UserSort::Name && listing.is_whole();
    let (mut users, total) = if is_walk {
        (by_name(view, listing, &sought, limit + 1)?, view.counters()?.users)
    } else {
        select(view, listing, &sought, limit + 1)?
    };
    let more = users.len() > limit;
    users.truncate(limit);
    let on = users.last().filter(|_| more).map(|user| listing.place(user));
    if sought.backward {
        users.reverse();
    }
    let ends = users.first().zip(users.last()).map(|(first, last)| (listing.place(first), listing.place(last)));
    let ends = ends.as_ref().map(|(first, last)| (first, last));
    let (next_cursor, prev_cursor) = sought.ends(&of, ends, on.as_ref(), Some(total))?;
    let now_ms = clock::now_ms();
    let failures = inner.throttle.failures(now_ms);
    let mut items = Vec::with_capacity(users.len());
    for user in &users {
        let failed = failures.of(user.name.as_str());
        let (sessions, tokens) = (view.sessions_of(&user.id)?, view.api_tokens_of(&user.id)?);
        let shown = render::user(user, &sessions, &tokens, failed, now_ms);
        let totp = totp::is_on(view.second_factor(&user.id)?.as_ref());
        items.push(User { grants: grants::told(view, &user.id)?, totp, ..shown });
    }
    Ok(Page { items, total: Some(total), next_cursor, prev_cursor })
}

/// From the index, in the direction of the walk.
fn by_name(
    view: &dyn View,
    listing: &UserListing,
    sought: &Sought<Place>,
    limit: usize,
) -> Result<Vec<UserRecord>, RegistryError> {
    let from = sought.from.as_ref().map(|(_key, name)| name);
    let is_back = listing.down != sought.backward;
    Ok(if is_back { view.users_back(from, limit)? } else { view.users(from, limit)? })
}

/// The first so many behind a place, in the direction of the walk, and how many fit the filter in all.
fn select(
    view: &dyn View,
    listing: &UserListing,
    sought: &Sought<Place>,
    limit: usize,
) -> Result<(Vec<UserRecord>, u64), RegistryError> {
    let is_back = listing.down != sought.backward;
    let in_order = |one: &Place, other: &Place| if is_back { other.cmp(one) } else { one.cmp(other) };
    let mut kept: Vec<(Place, UserRecord)> = Vec::new();
    let shorten = |kept: &mut Vec<(Place, UserRecord)>| {
        kept.sort_by(|(one, _), (other, _)| in_order(one, other));
        kept.truncate(limit);
    };
    let mut total = 0;
    let mut after: Option<UserName> = None;
    loop {
        let users = view.users(after.as_ref(), PAGE)?;
        let is_last = users.len() < PAGE;
        after = users.last().map(|user| user.name.clone());
        for user in users.into_iter().filter(|user| listing.takes(user)) {
            total += 1;
            let place = listing.place(&user);
            if sought.from.as_ref().is_none_or(|from| in_order(from, &place) == Ordering::Less) {
                kept.push((place, user));
            }
        }
        shorten(&mut kept);
        if is_last {
            return Ok((kept.into_iter().map(|(_place, user)| user).collect(), total));
        }
    }
}
