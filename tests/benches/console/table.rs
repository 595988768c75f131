//! The table of targets. Knows lines of text.

/// Lines, one a target.
pub(crate) struct Table {
    lines: Vec<(String, String, String, bool)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// What is measured, its target, the figure, and whether it is kept.
    pub(crate) fn say(&mut self, what: &str, target: &str, measured: String, is_kept: bool) {
        println!("{what:46} {target:>16}   {measured:40} {}", verdict(is_kept));
        self.lines.push((what.to_owned(), target.to_owned(), measured, is_kept));
    }

    /// At most so many, in a unit.
    pub(crate) fn at_most(&mut self, what: &str, most: f64, unit: &str, measured: f64) {
        let figure = format!("{measured:.3}");
        let figure = figure.trim_end_matches('0').trim_end_matches('.');
        self.say(what, &format!("<= {most} {unit}"), format!("{figure} {unit}"), measured <= most);
    }

    /// All of it once more, as it is to be read.
    pub(crate) fn print(&self) {
        println!("\n| what | target | measured | kept |\n|---|---|---|---|");
        for (what, target, measured, is_kept) in &self.lines {
            println!("| {what} | {target} | {measured} | {} |", verdict(*is_kept));
        }
    }
}

fn verdict(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "NOT KEPT" }
}
