//! SentencePiece: the pieces of a tokeniser with their scores, and how text is normalised before, as one protobuf message.
//! Nothing in it is code or names a file that is read. Knows its fields; what pieces make of a text it does not know.

use super::cursor::Stop;
use super::protobuf::{Event, Fault, Walk};
use super::rules::Rule;
use super::scan::{Place, Scan};
use super::{Level, ReadAt};

const BROKEN: Rule = Rule {
    id: "sentencepiece.broken",
    level: Level::Unscannable,
    meaning: "The file begins as the pieces of a SentencePiece tokeniser and goes on as something else.",
};

/// The rules of this format.
pub(super) const RULES: &[Rule] = &[BROKEN];

/// Octets of a piece of text; none is longer.
const PIECE_BYTES_MAX: u64 = 4096;

/// The messages that are looked into; the others hold settings and are stepped over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    Piece,
    Trainer,
}

/// Looks into a source that was recognised as this format.
pub(super) fn scan(scan: &mut Scan, source: &dyn ReadAt, place: &Place) -> Result<(), Stop> {
    let mut walk = Walk::over(source, Message::Model);
    let mut pieces = 0_u64;
    match read(scan, &mut walk, place, &mut pieces) {
        Ok(()) => {}
        Err(Fault::Stop(stop)) => return Err(stop),
        Err(Fault::Broken(why)) => scan.find(&BROKEN, place, Some(walk.position()), why),
    }
    scan.facts.set("vocab_size", pieces);
    Ok(())
}

fn read(scan: &mut Scan, walk: &mut Walk<'_, Message>, place: &Place, pieces: &mut u64) -> Result<(), Fault> {
    while let Some(event) = walk.next(scan, place)? {
        match event {
            Event::Octets { within: Message::Model, field: 1, .. } => {
                *pieces += 1;
                walk.enter(Message::Piece)?;
            }
            Event::Octets { within: Message::Model, field: 2, .. } => walk.enter(Message::Trainer)?,
            // How text is normalised, and back; and texts that the model was tried on.
            Event::Octets { within: Message::Model, field: 3..=5, .. } => {}
            Event::Octets { within: Message::Piece, field: 1, len } if len <= PIECE_BYTES_MAX => {}
            // The kind of the piece.
            Event::Number { within: Message::Piece, field: 3, value: 1..=6 } => {}
            Event::Octets { within: Message::Trainer, .. } | Event::Number { within: Message::Trainer, .. } => {}
            Event::Leave(_) => {}
            Event::Octets { .. } | Event::Number { .. } => {
                return Err(Fault::Broken("a field that the format has not"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use crate::inspect::probe::{assert_clean, assert_found, looked_at, mutated, mutations};
    use crate::inspect::protobuf::written::{field, number};
    use crate::inspect::{Format, Level};

    fn piece(text: &str, kind: Option<u64>) -> Vec<u8> {
        // The score is field 2, of four octets.
        let kind = kind.map_or_else(Vec::new, |kind| number(3, kind));
        field(1, [&field(1, text), &b"\x15\0\0\x80\xbf"[..], &kind].concat())
    }

    fn model(pieces: usize) -> Vec<u8> {
        let mut octets = [piece("<unk>", Some(2)), piece("<s>", Some(3))].concat();
        octets.extend((0..pieces).flat_map(|at| piece(&format!("\u{2581}{at}"), None)));
        octets.extend(field(2, [number(3, 2), field(7, "text")].concat()));
        octets.extend(field(3, field(1, "nmt_nfkc")));
        octets
    }

    #[test]
    fn tokenisers_are_clean_under_any_name() {
        for name in ["tokenizer.model", "spiece.model", "source.spm", "x"] {
            let inspection = assert_clean(&model(8), name);
            assert_eq!(inspection.format, Format::Sentencepiece);
            assert_eq!(inspection.facts.values["vocab_size"], 10);
        }
        // Longer than what is looked at to recognise it.
        assert_clean(&model(90_000), "tokenizer.model");
    }

    #[test]
    fn what_does_not_go_on_as_one_is_not_clean() {
        let sound = model(90_000);
        assert_found(&sound[..sound.len() - 1], "tokenizer.model", "sentencepiece.broken", Level::Unscannable);
        for behind in [field(9, "x"), number(1, 1), b"cos\nsystem\n(S'true'\ntR.".to_vec(), vec![0; 16]] {
            let octets = [&sound[..], &behind].concat();
            assert_found(&octets, "tokenizer.model", "sentencepiece.broken", Level::Unscannable);
            let octets = [&model(8)[..], &behind].concat();
            assert_ne!(looked_at(&octets, "tokenizer.model").verdict(), crate::inspect::Verdict::Clean);
        }
        // Few pieces are no evidence.
        assert_found(&piece("x", None), "tokenizer.model", "unknown.format", Level::Unscannable);
    }

    proptest! {
        #[test]
        fn no_mutation_makes_it_panic(mutation in mutations()) {
            looked_at(&mutated(&model(4), &mutation), "tokenizer.model");
        }
    }
}
