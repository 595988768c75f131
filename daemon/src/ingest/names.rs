//! What a name in the drop folder says. Knows names; refuses to know files.

use std::ffi::{OsStr, OsString};

use common::name::{ModelName, NameError};

/// Below which of the two watched folders something lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    /// The drop folder itself.
    Top,
    /// Its `incoming/`.
    Incoming,
}

/// Where something lies: in a watched folder or in a folder of it that is a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The watched folder.
    pub root: Root,
    /// The namespace's folder.
    pub namespace: Option<String>,
    /// The name in there.
    pub name: OsString,
}

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameKind {
    /// A file or folder to take in.
    Item,
    /// `NAME.mreg.json`: what to say about NAME.
    Sidecar(OsString),
    /// `NAME.sha256`: the digest that NAME must have.
    Checksum(OsString),
    /// A name that programs give to what they have not finished, such as `.NAME.XXXXXX` or `NAME.part`.
    Temporary,
    /// `.mreg-complete` or `_SUCCESS` in a folder: it is complete.
    Complete,
    /// `.mreg-namespace` in a folder: it is a namespace, and each item in it a model of its own.
    Namespace,
    /// Nothing to anybody, such as `.nfs…`.
    Ignored,
}

/// What a name is, whatever it names.
pub fn kind_of(name: &OsStr) -> NameKind {
    todo!("{name:?}")
}

impl Place {
    /// As people see it: `namespace/name`, what is not UTF-8 replaced.
    pub fn shown(&self) -> String {
        todo!()
    }

    /// The model's name that follows from it: the stem, in the folder's namespace.
    ///
    /// # Errors
    /// The name can't be made one: says what to do.
    pub fn model_name(&self) -> Result<ModelName, NameError> {
        todo!()
    }

    /// The same place with another name.
    #[must_use]
    pub fn beside(&self, name: OsString) -> Self {
        Self { name, ..self.clone() }
    }
}
