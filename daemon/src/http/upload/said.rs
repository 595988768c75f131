//! What an uploader says besides the files, from texts to values: the parts of a form, or a query. All that is wrong is
//! said at once, each with its place.
//! What of it the registry accepts is not known here.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use common::name::ModelName;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::problem::Refused;
use crate::registry::publish::PublishForm;
use crate::registry::text::read_digest;

/// Longest name, version, alias or digest, octets.
const WORD_OCTETS_MAX: usize = 1024;
/// Longest description, octets.
const DESCRIPTION_OCTETS_MAX: usize = 16 * 1024;
/// Longest metadata, and longest tags, octets.
const JSON_OCTETS_MAX: usize = 64 * 1024;
/// The fields there are, but for the files.
pub(super) const FIELDS: [&str; 8] =
    ["name", "version", "description", "tags", "metadata", "alias", "sha256", "force_new_version"];

/// The texts, as they came.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Said {
    version: Option<String>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    metadata: Option<String>,
    alias: Option<String>,
    sha256: Option<String>,
    force_new_version: Option<String>,
    /// Of a raw upload; a form's files have their own.
    pub(super) filename: Option<String>,
    #[serde(skip)]
    name: Option<String>,
}

impl Said {
    /// How long a field may be, octets; none if there is no such field.
    pub(super) fn octets_max(field: &str) -> Option<usize> {
        match field {
            "name" | "version" | "alias" | "sha256" | "force_new_version" => Some(WORD_OCTETS_MAX),
            "description" => Some(DESCRIPTION_OCTETS_MAX),
            "tags" | "metadata" => Some(JSON_OCTETS_MAX),
            _ => None,
        }
    }

    /// The name, as it was said.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Takes a field of a form. Only `tags` may come more than once.
    pub(super) fn take(&mut self, field: &str, text: String) -> Result<(), Refused> {
        let slot = match field {
            "name" => &mut self.name,
            "version" => &mut self.version,
            "description" => &mut self.description,
            "metadata" => &mut self.metadata,
            "alias" => &mut self.alias,
            "sha256" => &mut self.sha256,
            "force_new_version" => &mut self.force_new_version,
            "tags" => {
                self.tags.push(text);
                return Ok(());
            }
            _ => return Err(refused(vec![(format!("part.{field}"), "is not known here".into())])),
        };
        if slot.is_some() {
            return Err(refused(vec![(format!("part.{field}"), "is given twice".into())]));
        }
        *slot = Some(text);
        Ok(())
    }

    /// Reads the texts; `root` is where they came from, `part` or `query`. A name that is given wins over one that was
    /// said.
    pub(super) fn read(self, root: &str, name: Option<ModelName>) -> Result<PublishForm, Refused> {
        let mut reader = Reader { root, errors: Vec::new() };
        let form = PublishForm {
            name: name.or_else(|| reader.parsed("name", self.name)),
            version: reader.parsed("version", self.version),
            description: reader.checked("description", self.description, |text| {
                if text.len() > DESCRIPTION_OCTETS_MAX {
                    return Err(format!("is longer than {DESCRIPTION_OCTETS_MAX} octets"));
                }
                Ok(text)
            }),
            tags: reader.checked("tags", (!self.tags.is_empty()).then_some(self.tags), read_tags),
            metadata: reader.checked("metadata", said(self.metadata), read_metadata),
            alias: reader.parsed("alias", self.alias),
            // Unlike the others never passed over: whoever sends it wants the bytes checked, and an empty one is a
            // script's digest that was not found.
            sha256: reader.checked("sha256", self.sha256, |text| read_digest(&text)),
            force_new_version: reader
                .checked("force_new_version", self.force_new_version, read_flag)
                .unwrap_or_default(),
            ..PublishForm::default()
        };
        if reader.errors.is_empty() { Ok(form) } else { Err(refused(reader.errors)) }
    }
}

fn refused(errors: Vec<(String, String)>) -> Refused {
    Refused::invalid(errors)
}

struct Reader<'a> {
    root: &'a str,
    errors: Vec<(String, String)>,
}

impl Reader<'_> {
    /// An empty text says nothing: forms send one for each field that was left alone.
    fn parsed<T: FromStr<Err: Display>>(&mut self, field: &str, text: Option<String>) -> Option<T> {
        self.checked(field, said(text), |text| text.trim().parse().map_err(|error: T::Err| error.to_string()))
    }

    fn checked<S, T>(&mut self, field: &str, said: Option<S>, read: impl FnOnce(S) -> Result<T, String>) -> Option<T> {
        read(said?).map_err(|msg| self.errors.push((format!("{}.{field}", self.root), msg))).ok()
    }
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// JSON objects of texts, or `k:v,k2:v2`; a later one wins.
fn read_tags(texts: Vec<String>) -> Result<BTreeMap<String, String>, String> {
    let mut tags = BTreeMap::new();
    for text in texts {
        if text.len() > JSON_OCTETS_MAX {
            return Err(format!("is longer than {JSON_OCTETS_MAX} octets"));
        }
        let text = text.trim();
        if text.starts_with('{') {
            let object: BTreeMap<String, String> =
                serde_json::from_str(text).map_err(|error| format!("is not a JSON object of texts: {error}"))?;
            tags.extend(object);
            continue;
        }
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once(':')
                .filter(|(key, _)| !key.is_empty())
                .ok_or("is neither a JSON object nor `key:value,key2:value2`")?;
            tags.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    Ok(tags)
}

fn read_metadata(text: String) -> Result<Map<String, Value>, String> {
    if text.len() > JSON_OCTETS_MAX {
        return Err(format!("is longer than {JSON_OCTETS_MAX} octets"));
    }
    serde_json::from_str(&text).map_err(|error| format!("is not a JSON object: {error}"))
}

fn read_flag(text: String) -> Result<bool, String> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err("is not `true` or `false`".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use crate::http::problem::Refused;
    use crate::registry::error::{Failure, RegistryError};

    use super::{FIELDS, Said};

    fn said(fields: &[(&str, &str)]) -> Said {
        let mut said = Said::default();
        for (field, text) in fields {
            said.take(field, (*text).to_owned()).unwrap();
        }
        said
    }

    fn places(refused: Refused) -> Vec<String> {
        match refused {
            Refused::Registry(Failure { error: RegistryError::Invalid(errors), .. }) => {
                errors.into_iter().map(|(place, _)| place).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn fields_are_read() {
        let digest = "AB".repeat(32);
        let form = said(&[
            ("name", "team/model"),
            ("version", " 3 "),
            ("description", "what\nit is"),
            ("tags", "task:nlp, lang:en,url:http://x"),
            ("tags", "{\"task\": \"vision\"}"),
            ("metadata", "{\"f1\": 0.9}"),
            ("alias", "Prod"),
            ("sha256", &digest),
            ("force_new_version", "true"),
        ])
        .read("part", None)
        .unwrap();
        assert_eq!(form.name.unwrap().as_str(), "team/model");
        assert_eq!(form.version.unwrap().number(), 3);
        assert_eq!(form.description.unwrap(), "what\nit is");
        let tags = form.tags.unwrap();
        assert_eq!(tags["task"], "vision");
        assert_eq!((tags["lang"].as_str(), tags["url"].as_str()), ("en", "http://x"));
        assert_eq!(form.metadata.unwrap()["f1"], 0.9);
        assert_eq!(form.alias.unwrap().as_str(), "prod");
        assert_eq!(form.sha256.unwrap().to_hex(), digest.to_lowercase());
        assert!(form.force_new_version);
    }

    #[test]
    fn nothing_said_is_nothing_wanted() {
        let empty: Vec<(&str, &str)> =
            FIELDS.iter().filter(|field| **field != "sha256").map(|field| (*field, "")).collect();
        for said in [Said::default(), said(&empty)] {
            let form = said.read("part", None).unwrap();
            assert!(form.name.is_none() && form.version.is_none() && form.metadata.is_none() && form.alias.is_none());
            assert!(form.sha256.is_none() && form.tags.unwrap_or_default().is_empty() && !form.force_new_version);
        }
    }

    /// A check that was asked for is made, or refused.
    #[test]
    fn an_empty_digest_is_a_mistake() {
        for empty in ["", " "] {
            assert_eq!(places(said(&[("sha256", empty)]).read("part", None).unwrap_err()), ["part.sha256"]);
        }
    }

    #[test]
    fn all_mistakes_at_once() {
        let mistakes = said(&[
            ("name", "../x"),
            ("version", "0"),
            ("tags", "novalue"),
            ("metadata", "[1]"),
            ("alias", "7"),
            ("sha256", "12"),
            ("force_new_version", "maybe"),
        ]);
        assert_eq!(
            places(mistakes.read("part", None).unwrap_err()),
            [
                "part.name",
                "part.version",
                "part.tags",
                "part.metadata",
                "part.alias",
                "part.sha256",
                "part.force_new_version"
            ]
        );
        for bad in ["{\"a\": 1}", "{", ":v"] {
            assert_eq!(places(said(&[("tags", bad)]).read("query", None).unwrap_err()), ["query.tags"]);
        }
    }

    #[test]
    fn only_tags_come_twice() {
        for field in FIELDS {
            assert!(Said::octets_max(field).is_some());
            let mut said = Said::default();
            said.take(field, "x".into()).unwrap();
            assert_eq!(said.take(field, "x".into()).is_ok(), field == "tags");
        }
        assert!(Said::octets_max("file").is_none());
        assert!(Said::default().take("file", String::new()).is_err());
    }
}
