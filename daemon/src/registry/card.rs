//! The model card of a version: its README, as text. Knows which file that is and how much of it is shown; refuses to know
//! what it says. It is content like any other: it goes through the gate, and its reading is an entry.

use common::api::Card;
use common::name::{ArtifactPath, ModelKey, ModelRef, Select, Version};
use common::shown::shown_lines;

use crate::blobs::BlobReader;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::registry::error::{Outcome, RegistryError};

/// Octets of a card that are shown.
const CARD_BYTES_MAX: u64 = 256 << 10;

/// Names of cards, best first, ignoring case; only in the version's own folder, for deeper ones describe something else.
const NAMES: [&str; 4] = ["readme.md", "model_card.md", "readme.txt", "readme"];

impl Registry {
    /// The card of a version.
    ///
    /// # Errors
    /// What `require` says; `NotFound` where there is no version or it has no card; `Quarantined`; `Corrupt`.
    pub async fn card(&self, caller: &Caller, reference: &ModelRef, version: Version) -> Outcome<Card> {
        let found = self.version(caller, reference, version).await?.value.value;
        let path = card_among(found.artifacts.iter().map(|artifact| &artifact.path));
        let Some(path) = path.cloned() else {
            let names = "it has no README.md, MODEL_CARD.md, README.txt or README";
            return Err(RegistryError::not_found(format!("model card in version {version} ({names})")).into());
        };
        let model = ModelRef { model: ModelKey::Id(found.id), select: Select::Latest };
        let mut done = self.open_download(caller, &model, Some(version), Some(&path)).await?;
        let file =
            done.value.files.first_mut().ok_or_else(|| RegistryError::internal("a download without its file"))?;
        let (reader, size) = (file.open().await?, file.info.size);
        let task = tokio::task::spawn_blocking(move || beginning(&*reader));
        let octets = task.await.map_err(|error| RegistryError::Internal(error.into()))??;
        done.value.ticket.sent(octets.len() as u64);
        done.value.ticket.complete();
        Ok(done.map(|_download| card(path, size, &octets)))
    }
}

/// Which of a version's files is its card.
fn card_among<'p>(paths: impl Iterator<Item = &'p ArtifactPath> + Clone) -> Option<&'p ArtifactPath> {
    NAMES.iter().find_map(|name| paths.clone().find(|path| path.as_str().eq_ignore_ascii_case(name)))
}

fn beginning(reader: &dyn BlobReader) -> Result<Vec<u8>, RegistryError> {
    let mut octets = vec![0; usize::try_from(reader.len().min(CARD_BYTES_MAX)).unwrap_or(0)];
    let mut read = 0;
    while read < octets.len() {
        match reader.read_at(read as u64, &mut octets[read..])? {
            0 => break,
            count => read += count,
        }
    }
    octets.truncate(read);
    Ok(octets)
}

fn card(path: ArtifactPath, size: u64, octets: &[u8]) -> Card {
    let truncated = size > octets.len() as u64;
    // A character that was cut in two at the end is no fault of the text.
    let octets = match std::str::from_utf8(octets) {
        Err(error) if truncated && error.error_len().is_none() => &octets[..error.valid_up_to()],
        Ok(_) | Err(_) => octets,
    };
    Card { path, size, truncated, text: shown_lines(&String::from_utf8_lossy(octets)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use common::name::ArtifactPath;

    use super::{card, card_among};

    #[test]
    fn the_card_is_the_readme_of_the_folder_itself() {
        let chosen = |paths: &[&str]| {
            let paths: Vec<ArtifactPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            card_among(paths.iter()).map(|path| path.as_str().to_owned())
        };
        assert_eq!(chosen(&["a/README.md", "model.bin"]), None);
        assert_eq!(chosen(&["README", "Readme.MD", "model.bin"]).as_deref(), Some("Readme.MD"));
        assert_eq!(chosen(&["MODEL_CARD.md", "readme.txt"]).as_deref(), Some("MODEL_CARD.md"));
    }

    #[test]
    fn its_text_steers_no_terminal_and_ends_between_characters() {
        let path: ArtifactPath = "README.md".parse().unwrap();
        let whole = card(path.clone(), 10, "# A\r\n\x1b[2J".as_bytes());
        assert_eq!((whole.text.as_str(), whole.truncated), ("# A\n\\u{1b}[2J", true));
        assert_eq!(card(path.clone(), 9, b"caf\xc3").text, "caf");
        assert_eq!(card(path, 4, b"caf\xc3").text, "caf\u{fffd}");
    }
}
