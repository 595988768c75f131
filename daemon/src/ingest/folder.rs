//! What a folder in a watched folder is: one version, a namespace, or not yet known. Pure. Never a guess: a folder that is
//! being filled must not be taken apart.

use crate::ingest::lanes::Tree;

/// What a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Each file in it is a model of its own.
    Namespace,
    /// It is complete: one version.
    Version,
    /// It is empty; if it stays so, it is a namespace.
    Empty,
    /// It can't be told; the sentence says what to do.
    Unknown(String),
}

/// What is known of a folder besides what is in it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// It was moved in by a rename that we saw, or had another name before that said it was unfinished.
    pub(crate) renamed: bool,
    /// It lies in a namespace: it can't be one itself.
    pub(crate) in_namespace: bool,
}

/// What a folder of this name (as people see it) is.
pub(crate) fn role(shown: &str, tree: &Tree, known: Known) -> Role {
    if tree.namespace && known.in_namespace {
        return Role::Unknown(format!(
            "`{shown}` lies in a namespace and can't be one itself: remove `.mreg-namespace` from it, or move it up"
        ));
    }
    if tree.namespace {
        return Role::Namespace;
    }
    if tree.marked {
        return Role::Version;
    }
    if tree.files == 0 && tree.unfinished.is_none() && tree.hostile.is_none() {
        if known.in_namespace {
            return Role::Unknown(format!("`{shown}` is empty, and a namespace has no namespaces in it"));
        }
        return Role::Empty;
    }
    if known.renamed || tree.sealed {
        return Role::Version;
    }
    let name = shown.rsplit('/').next().unwrap_or(shown);
    Role::Unknown(if known.in_namespace {
        format!("`{shown}` is not known to be complete: put an empty file `.mreg-complete` in it to make it one version")
    } else {
        format!(
            "`{shown}` is not known to be complete: put an empty file `.mreg-complete` in it to make it one version, or \
             `.mreg-namespace` to make each file in it a model of the namespace `{name}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Known, Role, role};
    use crate::ingest::lanes::Tree;

    fn tree() -> Tree {
        Tree {
            files: 2,
            print: [0; 32],
            marked: false,
            namespace: false,
            sealed: false,
            unfinished: None,
            hostile: None,
        }
    }

    /// A marker, a rename or its own times close a folder; nothing else does, and then it is said what to do.
    #[test]
    fn closed_or_not() {
        let known = Known::default();
        assert_eq!(role("bert", &Tree { marked: true, ..tree() }, known), Role::Version);
        assert_eq!(role("bert", &Tree { sealed: true, ..tree() }, known), Role::Version);
        assert_eq!(role("bert", &tree(), Known { renamed: true, ..known }), Role::Version);
        let Role::Unknown(reason) = role("bert", &tree(), known) else { panic!("it is known") };
        assert!(reason.contains(".mreg-complete") && reason.contains(".mreg-namespace"), "{reason}");
    }

    /// A namespace says so or is empty; one in another is none.
    #[test]
    fn namespaces() {
        let known = Known::default();
        let inside = Known { in_namespace: true, ..known };
        assert_eq!(role("nlp", &Tree { namespace: true, marked: true, ..tree() }, known), Role::Namespace);
        assert_eq!(role("nlp", &Tree { files: 0, sealed: true, ..tree() }, known), Role::Empty);
        assert!(matches!(role("nlp/x", &Tree { namespace: true, ..tree() }, inside), Role::Unknown(_)));
        assert!(matches!(role("nlp/x", &Tree { files: 0, ..tree() }, inside), Role::Unknown(_)));
        assert_eq!(role("nlp/x", &Tree { sealed: true, ..tree() }, inside), Role::Version);
    }
}
