//! The log as it grows, one line an entry, until Enter or C-c. The entries are those that the console follows anyway.

use super::{CliError, Plain};
use crate::cli::listing::entry_line;
use crate::event::EventKind;
use crate::filter::{audit_query, matches};
use crate::state::audit::Line;
use crate::tail::Link;
use crate::terminal::output_columns;
use crate::time::counted;

/// Columns of the mark before an entry.
const MARK_COLUMNS: usize = 2;

impl Plain {
    pub(super) fn follow(&mut self, filter: &str) -> Result<(), CliError> {
        let query = match crate::cli::settled(filter).and_then(|filter| audit_query(&filter)) {
            Ok(query) => query,
            Err(why) => return self.say(&why),
        };
        if let Link::Refused(why) = &self.state().log.tail.link {
            let why = why.clone();
            return self.say(&why);
        }
        self.say("new entries follow, a dot marks those not yet verified; Enter or C-c ends it")?;
        let mut next = self.state().log.tail.next;
        while self.bare.typed.is_empty() && self.state().login.is_none() {
            self.turn();
            self.tell_at_once()?;
            let tail = &self.bare.engine.state.log.tail;
            let verified = self.bare.engine.state.log.trust.verified_size();
            let lost = tail.ring().front().map_or(next, |held| held.index).saturating_sub(next);
            let mut lines = Vec::new();
            if lost > 0 && next > 0 {
                lines.push(format!(
                    "  {} came too fast to be shown: {next} to {}",
                    counted(lost, "entry"),
                    next + lost - 1
                ));
            }
            for held in tail.ring().iter().filter(|held| held.index >= next) {
                let line = Line::streamed(held);
                if matches(&query, &line.entry()) || held.malformed.is_some() {
                    let mark = match (&held.malformed, held.index < verified) {
                        (Some(_), _) => "X",
                        (None, true) => " ",
                        (None, false) => ".",
                    };
                    let room = output_columns().map(|columns| columns.saturating_sub(MARK_COLUMNS));
                    lines.push(format!("{mark} {}", entry_line(&line.row(), room)));
                }
            }
            next = tail.ring().back().map_or(next, |held| next.max(held.index + 1));
            lines.iter().try_for_each(|line| self.say(line))?;
        }
        // The line that ended it is no command, nor is C-c the end of the console.
        match self.bare.typed.pop_front() {
            Some(EventKind::Key(_)) => self.say(""),
            _ => Ok(()),
        }
    }
}
