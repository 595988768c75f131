//! The state of one inspection: limits, what of them is used up, findings, facts. What reads a format gets a [`Scan`] to
//! charge its work to and to report to. It knows no format.
//!
//! A limit that is reached is itself a finding (`limit`, unscannable) and ends the inspection: [`Stop::Limit`] goes up through
//! everything that is being read. What was found before stands.

use std::cmp::Reverse;
use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cursor::Stop;
use super::facts::{Facts, cut};
use super::rules::{self, Rule, Ruleset};
use super::{
    DETAIL_BYTES_MAX, EXCERPT_BYTES_MAX, Finding, Format, Inspection, Level, ReadAt, Taken, Wanted, read_up_to,
};

/// Findings kept of one file: of every rule the gravest, then the gravest of the rest.
const FINDINGS_MAX: usize = 200;
/// Findings kept of one file with the same rule and detail.
const ALIKE_MAX: usize = 5;
/// Ranges outside formats that are searched in one file.
const SEARCHES_MAX: u32 = 1000;
/// Octets of a place.
const PLACE_BYTES_MAX: usize = 1024;

/// How much work an inspection may be (scanning.md §2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Containers within containers.
    pub depth: u32,
    /// Members of all containers of a file.
    pub members: u64,
    /// Octets inflated in all.
    pub inflated_bytes: u64,
    /// Octets held of one thing that must be read at any place: an inflated member, a string of a pickle.
    pub held_bytes: u64,
    /// Opcodes of all pickles of a file.
    pub opcodes: u64,
    /// Globals named by all pickles of a file.
    pub globals: u64,
    /// Time at least, for a file of any size.
    pub time: Duration,
    /// Time in addition for each GB (10⁹ octets) of the file.
    pub time_per_gb: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 8,
            members: 100_000,
            inflated_bytes: 4 << 30,
            held_bytes: 64 << 20,
            opcodes: 50_000_000,
            globals: 200_000,
            time: Duration::from_secs(60),
            time_per_gb: Duration::from_secs(10),
        }
    }
}

/// Where something is: the path through containers, and how the place of an octet is said.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    path: String,
    depth: u32,
    container: Option<Format>,
    /// Outside a format, where a search goes on already.
    beyond: bool,
}

impl Place {
    /// The file itself.
    pub(super) fn file() -> Self {
        Self::default()
    }

    /// How many containers are around.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// The last part of the path: the member's own name.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// What kind of container is right around; none for the file itself.
    pub(super) fn container(&self) -> Option<Format> {
        self.container
    }

    /// A member of this container. The name comes from the file: it is escaped and cut here.
    pub(super) fn member(&self, container: Format, name: &str) -> Self {
        let name: String = name.chars().take(256).flat_map(char::escape_debug).collect();
        let path = if self.path.is_empty() { name } else { format!("{}/{name}", self.path) };
        Self {
            path: cut(&path, PLACE_BYTES_MAX).to_owned(),
            depth: self.depth + 1,
            container: Some(container),
            beyond: false,
        }
    }

    /// A part that is no member of its own: a further stream, an attribute; written behind `#`.
    pub(super) fn part(&self, what: impl Display) -> Self {
        let path = format!("{}#{what}", self.path);
        Self { path: cut(&path, PLACE_BYTES_MAX).to_owned(), ..*self }
    }

    /// What was found at an octet outside the format: as deep as a member, for it may hold the like again.
    pub(super) fn beyond(&self, offset: u64) -> Self {
        Self { depth: self.depth + 1, beyond: true, ..self.part(format_args!("+{offset}")) }
    }

    /// Whether it was found outside a format by a search, which goes over the rest of that range too.
    pub(super) fn is_beyond(&self) -> bool {
        self.beyond
    }

    /// The text of an octet's place.
    fn at(&self, offset: Option<u64>) -> String {
        match offset {
            Some(offset) => format!("{}@{offset}", self.path),
            None => self.path.clone(),
        }
    }
}

/// One inspection under way.
pub struct Scan<'r> {
    /// The rules that are asked.
    pub(super) rules: &'r Ruleset,
    /// The limits.
    pub(super) limits: &'r Limits,
    /// What was measured.
    pub facts: Facts,
    /// The gravest of each rule, each with its number in the order found. There are fewer rules than are kept.
    gravest: Vec<(u64, Finding)>,
    /// The rest of what is kept.
    others: Vec<(u64, Finding)>,
    /// All there were.
    found: u64,
    members: u64,
    inflated: u64,
    opcodes: u64,
    globals: u64,
    searches: u32,
    ticks: u32,
    until: Instant,
    /// What is looked for, and what was found of it.
    wanted: Option<Wanted>,
    taken: Option<Taken>,
}

impl<'r> Scan<'r> {
    /// The inspection of a file of so many octets begins.
    #[must_use]
    pub fn new(rules: &'r Ruleset, limits: &'r Limits, len: u64) -> Self {
        let gigabytes = u32::try_from(len / 1_000_000_000).unwrap_or(u32::MAX);
        let time = limits.time.saturating_add(limits.time_per_gb.saturating_mul(gigabytes));
        let now = Instant::now();
        // A time beyond what the clock can express is as good as none; an hour, then.
        let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(3600));
        Self {
            rules,
            limits,
            facts: Facts::default(),
            gravest: Vec::new(),
            others: Vec::new(),
            found: 0,
            members: 0,
            inflated: 0,
            opcodes: 0,
            globals: 0,
            searches: 0,
            ticks: 0,
            until,
            wanted: None,
            taken: None,
        }
    }

    /// Reports what a rule found, at the rule's own level.
    pub(super) fn find(&mut self, rule: &Rule, place: &Place, offset: Option<u64>, detail: impl Display) {
        self.find_as(rule.level, rule, place, offset, detail);
    }

    /// Reports what a rule found, where its level hangs on the case. `detail` is a sentence for people; what it quotes from
    /// the file need not be escaped or short, that happens here.
    pub(super) fn find_as(
        &mut self,
        level: Level,
        rule: &Rule,
        place: &Place,
        offset: Option<u64>,
        detail: impl Display,
    ) {
        let detail: String = detail.to_string().chars().take(4 * DETAIL_BYTES_MAX).flat_map(escaped).collect();
        let detail = cut(&detail, DETAIL_BYTES_MAX).to_owned();
        self.found = self.found.saturating_add(1);
        let kept = self.gravest.iter().chain(&self.others);
        let alike = kept.filter(|(_, one)| one.rule == rule.id && one.detail == detail && one.level == level);
        if alike.count() >= ALIKE_MAX {
            return;
        }
        let finding = (self.found, Finding { rule: rule.id.to_owned(), level, place: place.at(offset), detail });
        match self.gravest.iter_mut().find(|(_, one)| one.rule == rule.id) {
            None => self.gravest.push(finding),
            Some(gravest) if gravest.1.level < level => self.others.push(std::mem::replace(gravest, finding)),
            Some(_as_grave) => self.others.push(finding),
        }
        if self.gravest.len() + self.others.len() > FINDINGS_MAX {
            // Of those that are least grave the last.
            let least = self.others.iter().enumerate().min_by_key(|(_, (number, one))| (one.level, Reverse(*number)));
            if let Some((at, _)) = least {
                self.others.swap_remove(at);
            }
        }
    }

    /// Charges a member of a container, and checks how deep it is.
    pub(super) fn enter(&mut self, place: &Place) -> Result<(), Stop> {
        if place.depth() > self.limits.depth {
            return Err(
                self.reached(place, format_args!("more than {} containers within each other", self.limits.depth))
            );
        }
        self.members += 1;
        if self.members > self.limits.members {
            return Err(self.reached(place, format_args!("more than {} members", self.limits.members)));
        }
        self.tick(place)
    }

    /// Charges octets that came out of a decompressor.
    pub(super) fn inflated(&mut self, place: &Place, octets: u64) -> Result<(), Stop> {
        self.inflated = self.inflated.saturating_add(octets);
        if self.inflated > self.limits.inflated_bytes {
            let max = self.limits.inflated_bytes;
            return Err(self.reached(place, format_args!("more than {max} octets when decompressed")));
        }
        self.tick(place)
    }

    /// Charges an opcode of a pickle, or as many as were walked since the last charge.
    pub(super) fn opcodes(&mut self, place: &Place, count: u64) -> Result<(), Stop> {
        self.opcodes = self.opcodes.saturating_add(count);
        if self.opcodes > self.limits.opcodes {
            return Err(self.reached(place, format_args!("more than {} opcodes", self.limits.opcodes)));
        }
        self.tick(place)
    }

    /// Charges a global that a pickle names.
    pub(super) fn global(&mut self, place: &Place) -> Result<(), Stop> {
        self.globals += 1;
        if self.globals > self.limits.globals {
            return Err(self.reached(place, format_args!("more than {} globals", self.limits.globals)));
        }
        Ok(())
    }

    /// Charges a search of octets outside a format: what it finds may have such octets of its own.
    pub(super) fn search(&mut self, place: &Place) -> Result<(), Stop> {
        self.searches += 1;
        if self.searches > SEARCHES_MAX {
            return Err(self.reached(place, format_args!("more than {SEARCHES_MAX} ranges outside formats to search")));
        }
        self.tick(place)
    }

    /// To be called in every loop whose length a file decides: looks at the clock now and then.
    pub(super) fn tick(&mut self, place: &Place) -> Result<(), Stop> {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(1024) && Instant::now() > self.until {
            return Err(self.reached(place, "more time than a file of this size gets"));
        }
        Ok(())
    }

    /// Reports that a limit is reached: what is returned ends the inspection.
    pub(super) fn reached(&mut self, place: &Place, what: impl Display) -> Stop {
        self.find(&rules::LIMIT, place, None, format_args!("{what}; the rest was not looked at"));
        Stop::Limit
    }

    /// From here on octets of a place are looked for.
    pub(super) fn look_for(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted);
    }

    /// What was found of them.
    pub(super) fn into_taken(self) -> Option<Taken> {
        self.taken
    }

    /// Takes the octets that are looked for, where these are the ones: then nothing more needs to be looked at. Those of the
    /// whole that they are a part of will do until the part itself is come to.
    pub(super) fn look(&mut self, place: &Place, source: &dyn ReadAt) -> Result<(), Stop> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let is_it = wanted.path == place.path;
        let Some(shift) = (if is_it { Some(0) } else { wanted.part_of(&place.path) }) else { return Ok(()) };
        let at = wanted.offset.unwrap_or(0).saturating_add(shift).min(source.len());
        // Whole lines of sixteen, with the octet in the middle.
        let from = at.saturating_sub(EXCERPT_BYTES_MAX / 2) / 16 * 16;
        let octets = read_up_to(source, from, EXCERPT_BYTES_MAX)?;
        self.taken = Some(Taken { from, len: source.len(), octets });
        if is_it { Err(Stop::Limit) } else { Ok(()) }
    }

    /// What the inspection comes to.
    pub(super) fn finish(mut self, format: Format) -> Inspection {
        let mut findings = self.gravest;
        findings.append(&mut self.others);
        findings.sort_by_key(|(number, finding)| (Reverse(finding.level), *number));
        let findings = findings.into_iter().map(|(_number, finding)| finding).collect();
        Inspection { format, findings, findings_total: self.found, facts: self.facts }
    }
}

/// Control characters, and those that change the direction of text, as escapes; everything else as it is.
fn escaped(character: char) -> impl Iterator<Item = char> {
    let is_odd = character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let (plain, escape) = if is_odd { (None, Some(character.escape_default())) } else { (Some(character), None) };
    plain.into_iter().chain(escape.into_iter().flatten())
}

/// A part of a source, as a source.
pub(super) struct Slice<'a> {
    source: &'a dyn ReadAt,
    start: u64,
    len: u64,
}

impl<'a> Slice<'a> {
    /// The octets `start..end`, cut to the source.
    pub(super) fn new(source: &'a dyn ReadAt, start: u64, end: u64) -> Self {
        let end = end.min(source.len());
        let start = start.min(end);
        Self { source, start, len: end - start }
    }
}

impl ReadAt for Slice<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.len.saturating_sub(offset);
        let count = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        if count == 0 { Ok(0) } else { self.source.read_at(self.start + offset, &mut buf[..count]) }
    }
}

/// All octets of a source, if they are at most `max`: what must be held whole, such as a JSON header. `None`: it is longer.
///
/// # Errors
/// Those of the source.
pub(super) fn whole(source: &dyn ReadAt, max: u64) -> io::Result<Option<Vec<u8>>> {
    if source.len() > max { Ok(None) } else { read_up_to(source, 0, source.len()).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::super::rules::LIMIT;
    use super::super::{Format, Level, Limits, RULES, Ruleset, rule};
    use super::{FINDINGS_MAX, Place, Scan};

    /// However often one rule finds something, others are not lost, nor what is graver; all is counted.
    #[test]
    fn findings_that_are_kept() {
        assert!(RULES.iter().map(|family| family.len()).sum::<usize>() < FINDINGS_MAX);
        let (rules, limits, place) = (Ruleset::default(), Limits::default(), Place::file());
        let mut scan = Scan::new(&rules, &limits, 0);
        let often = rule("zip.crc").unwrap();
        for number in 0..300 {
            scan.find_as(Level::Suspicious, often, &place, None, number);
        }
        scan.find_as(Level::Note, rule("pickle.present").unwrap(), &place, None, "a");
        scan.find_as(Level::Note, &LIMIT, &place, None, "b");
        scan.find_as(Level::Malicious, &LIMIT, &place, None, "c");
        for _ in 0..20 {
            scan.find_as(Level::Suspicious, often, &place, None, "alike");
        }
        let inspection = scan.finish(Format::Zip);
        assert_eq!((inspection.findings.len(), inspection.findings_total), (FINDINGS_MAX, 323));
        let kept = |rule: &str| inspection.findings.iter().filter(|one| one.rule == rule).count();
        assert_eq!((kept("pickle.present"), kept("limit")), (1, 1), "the graver of two");
        assert_eq!(inspection.findings[0].level, Level::Malicious);
        assert_eq!(inspection.findings[1].detail, "0", "else in the order found");
    }
}
