//! LightGBM's text format: a head, trees, and the parameters of training, all as lines of keys and values. All of it is
//! walked; a line of no known form is told. Nothing in the format names code.

use super::ReadAt;
use super::cursor::{Cursor, Stop};
use super::rules::Rule;
use super::scan::{Place, Scan};

/// Lines of no known form.
const BROKEN: Rule = Rule {
    id: "lightgbm.broken",
    level: super::Level::Unscannable,
    meaning: "The file begins as a LightGBM model and goes on as something else, or ends before its end.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

/// Octets of a line that are kept: what tells its form stands at its beginning.
const LINE_BYTES_MAX: usize = 512;
/// Keys of the head that become facts.
const FACTS: &[&str] = &["num_class", "max_feature_idx", "objective"];

/// Whether a text begins as LightGBM's models do.
pub(super) fn is_model(text: &str) -> bool {
    text.strip_prefix("tree").is_some_and(|rest| rest.trim_start_matches('\r').starts_with("\nversion=v"))
}

/// The parts of a model, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Tree,
    /// Behind the trees: what each feature is worth, then perhaps parameters.
    Behind,
    Parameters,
    /// Behind the parameters: the categories of a data frame.
    End,
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut cursor = Cursor::over(source);
    let (mut part, mut trees, mut is_first) = (Part::Head, 0_u64, true);
    while !cursor.at_end() {
        scan.tick(place)?;
        let at = cursor.position();
        let line = line(&mut cursor, source)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        if line.is_empty() || std::mem::take(&mut is_first) && line == "tree" {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let is_pair = key.len() < line.len() && !key.contains(char::is_control);
        part = match part {
            Part::Head | Part::Tree if key == "Tree" && is_pair => {
                trees += 1;
                Part::Tree
            }
            Part::Head | Part::Tree if line == "end of trees" => Part::Behind,
            Part::Head if is_pair || line == "average_output" || line == "linear_tree" => {
                if FACTS.contains(&key) {
                    scan.facts.set(key, value);
                }
                Part::Head
            }
            Part::Tree if is_pair && key.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_') => Part::Tree,
            Part::Behind if line == "parameters:" => Part::Parameters,
            Part::Behind if is_pair || matches!(line, "feature_importances:" | "feature importances:") => Part::Behind,
            Part::Parameters if line == "end of parameters" => Part::End,
            Part::Parameters if line.starts_with('[') && line.contains(':') => Part::Parameters,
            Part::Behind | Part::End if line.starts_with("pandas_categorical:") => part,
            // Written where the parameters were lost.
            Part::End if line.starts_with('[') || line == "loaded_parameters:" => part,
            _ => {
                scan.find(&BROKEN, place, Some(at), format_args!("a line that no LightGBM model has: {line}"));
                return Ok(());
            }
        };
    }
    if matches!(part, Part::Head | Part::Tree | Part::Parameters) {
        scan.find(&BROKEN, place, Some(source.len()), "the model ends before its end");
    }
    scan.facts.set("architecture", "lightgbm");
    scan.facts.set("trees", trees);
    Ok(())
}

/// The next line, also a last one without its end.
fn line(cursor: &mut Cursor<'_>, source: &dyn ReadAt) -> Result<Vec<u8>, Stop> {
    let start = cursor.position();
    match cursor.line(LINE_BYTES_MAX) {
        Err(Stop::End) => {
            let kept = LINE_BYTES_MAX as u64;
            Cursor::new(source, start, source.len(), kept).take(kept.min(source.len() - start))
        }
        line => line,
    }
}
