//! What a configuration says, whether it is JSON or YAML: callables that a loader is to look up and call, chat templates,
//! the types that skops names, notebooks, and XGBoost's own facts. It sees a stream of events and holds no document, so size
//! does not matter. It knows neither grammar.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use super::cursor::Stop;
use super::facts::cut;
use super::pickle::globals::{Standing, standing};
use super::rules::{Rule, Ruleset};
use super::scan::{Place, Scan};
use super::{Level, jinja, source};

/// Keys of open objects that are remembered, to tell duplicates.
const KEYS_MAX: usize = 4_000_000;
/// Types that one document may name.
const TYPES_MAX: usize = 10_000;
/// Octets of a module's or class's name; none is longer.
const NAME_BYTES_MAX: usize = 512;

const TARGET: Rule = Rule {
    id: "config.target",
    level: Level::Malicious,
    meaning: "The configuration names a callable that the loader looks up and calls with arguments from the same file \
              (Hydra's `_target_` and its like): one that runs code or opens files is an attack, an unknown one may be.",
};
const TEMPLATE_LARGE: Rule = Rule {
    id: "config.template",
    level: Level::Unscannable,
    meaning: "A chat template or the name of a callable is longer than can be held, so it was not judged.",
};

/// The rules of configurations.
pub(super) const RULES: &[Rule] = &[TARGET, TEMPLATE_LARGE];

/// What a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keys and values.
    Object,
    /// Values.
    Array,
}

/// One step through a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A container begins.
    Begin(Kind),
    /// The innermost container ends.
    End,
    /// The key of the value that follows.
    Key(String),
    /// A string, and whether it is whole.
    Text {
        /// As much of it as is held.
        text: String,
        /// Whether that is all of it.
        whole: bool,
    },
    /// A number as it is written.
    Number(String),
    /// True or false.
    Bool(bool),
    /// Nothing.
    Null,
}

/// An open container.
struct Frame {
    kind: Kind,
    /// The key of the value under way.
    key: String,
    /// Whether texts in here are chat templates.
    template: bool,
    /// Whether texts in here name code of the repository.
    auto_map: bool,
    /// Hashes of the keys so far.
    seen: HashSet<u64>,
    module: Option<String>,
    class: Option<String>,
    loader: Option<String>,
}

/// A type as skops names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Type {
    /// `__module__`.
    pub(super) module: String,
    /// `__class__`.
    pub(super) class: String,
    /// `__loader__`, or nothing.
    pub(super) loader: String,
}

/// Judges a document from its events.
#[derive(Default)]
pub(super) struct Judge {
    frames: Vec<Frame>,
    hasher: RandomState,
    keys: usize,
    /// Not every key was remembered.
    pub(super) keys_left_out: bool,
    /// Keys of the outermost object that say what the document is.
    top: BTreeSet<&'static str>,
    /// Code of the repository is to be run.
    pub(super) auto_map: bool,
    /// The numbers at the top's `version`: XGBoost writes three.
    pub(super) version: Vec<String>,
    /// Types that are named.
    pub(super) types: BTreeSet<Type>,
}

/// Keys of the outermost object that say what a document is.
const TOP: &[&str] = &["class_name", "config", "cells", "nbformat", "__loader__", "_skops_version", "learner"];

impl Judge {
    /// Whether the outermost object has this key, one of [`TOP`].
    pub(super) fn has_top(&self, key: &str) -> bool {
        self.top.contains(key)
    }

    /// Takes an event. A key that the same object had before is handed back.
    pub(super) fn event<'e>(
        &mut self,
        scan: &mut Scan,
        place: &Place,
        at: u64,
        event: &'e Event,
    ) -> Result<Option<&'e str>, Stop> {
        scan.tick(place)?;
        match event {
            Event::Begin(kind) => self.begin(*kind),
            Event::End => self.end(scan, place)?,
            Event::Key(key) => return Ok(self.key(scan, place, key).then_some(key)),
            Event::Text { text, whole } => self.text(scan, place, at, text, *whole),
            Event::Number(word) => {
                if self.is_path(&["version"]) && self.version.len() < 4 {
                    self.version.push(word.clone());
                }
            }
            Event::Bool(_) | Event::Null => {}
        }
        Ok(None)
    }

    fn begin(&mut self, kind: Kind) {
        let template = self.is_template();
        let auto_map = self.is_auto_map();
        self.frames.push(Frame {
            kind,
            key: String::new(),
            template,
            auto_map,
            seen: HashSet::new(),
            module: None,
            class: None,
            loader: None,
        });
    }

    fn end(&mut self, scan: &mut Scan, place: &Place) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        self.keys = self.keys.saturating_sub(frame.seen.len());
        if let (Some(module), Some(class)) = (frame.module, frame.class) {
            self.types.insert(Type { module, class, loader: frame.loader.unwrap_or_default() });
            if self.types.len() > TYPES_MAX {
                return Err(scan.reached(place, format_args!("more than {TYPES_MAX} types named")));
            }
        }
        Ok(())
    }

    fn key(&mut self, scan: &mut Scan, place: &Place, key: &str) -> bool {
        if self.frames.len() == 1
            && let Some(known) = TOP.iter().find(|known| **known == key)
        {
            self.top.insert(known);
            if self.has_top("cells") && self.has_top("nbformat") && matches!(key, "cells" | "nbformat") {
                source::notebook(scan, place);
            }
        }
        let Some(frame) = self.frames.last_mut() else { return false };
        // What is asked for is short; what is open at once is many.
        cut(key, NAME_BYTES_MAX).clone_into(&mut frame.key);
        if self.keys >= KEYS_MAX {
            self.keys_left_out = true;
            return false;
        }
        let is_new = frame.seen.insert(self.hasher.hash_one(key));
        self.keys += usize::from(is_new);
        !is_new
    }

    fn text(&mut self, scan: &mut Scan, place: &Place, at: u64, text: &str, whole: bool) {
        if self.is_template() && !self.key_is("name") {
            if whole {
                jinja::scan_template(scan, text, &place.part(at));
            } else {
                scan.find(&TEMPLATE_LARGE, place, Some(at), "a chat template that is too long to be judged");
            }
        }
        // One that is empty asks for nothing.
        self.auto_map |= self.is_auto_map();
        if self.is_path(&["learner", "objective", "name"]) {
            scan.facts.set("objective", text);
            scan.facts.set("framework", "xgboost");
        } else if self.is_path(&["learner", "learner_model_param", "num_feature"]) {
            scan.facts.set("num_feature", text.parse::<u64>().ok());
        } else if self.is_path(&["learner", "gradient_booster", "name"]) {
            scan.facts.set("architecture", text);
        }
        let Some(frame) = self.frames.last_mut().filter(|frame| frame.kind == Kind::Object) else { return };
        let slot = match frame.key.as_str() {
            // The second name each is that of functions in schemas before skops 0.9.
            "__module__" | "module_path" => &mut frame.module,
            "__class__" | "function" => &mut frame.class,
            "__loader__" => &mut frame.loader,
            "_target_" | "__target__" => return target(scan, place, at, text, whole, true),
            "target" | "class_path" | "_component_" => return target(scan, place, at, text, whole, false),
            "loader_module" => return loader(scan, place, at, text),
            _ => return,
        };
        *slot = Some(cut(text, NAME_BYTES_MAX).to_owned());
    }

    fn key_is(&self, key: &str) -> bool {
        self.frames.last().is_some_and(|frame| frame.kind == Kind::Object && frame.key == key)
    }

    /// Whether the value under way is a chat template, or within the value that holds several.
    fn is_template(&self) -> bool {
        self.frames.last().is_some_and(|frame| {
            frame.template
                || frame.kind == Kind::Object
                    && (frame.key.starts_with("chat_template") || frame.key.ends_with("chat_template"))
        })
    }

    /// Whether the value under way names code of the repository, or is within one that does.
    fn is_auto_map(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.auto_map)
            || self.key_is("auto_map")
            || self.key_is("custom_pipelines")
    }

    /// Whether the value under way stands at these keys, lists within them disregarded.
    fn is_path(&self, keys: &[&str]) -> bool {
        let objects = self.frames.iter().filter(|frame| frame.kind == Kind::Object).map(|frame| frame.key.as_str());
        self.frames.len() <= keys.len() + 1 && objects.eq(keys.iter().copied())
    }
}

/// Judges the module that MLflow imports to load a model; it puts the model's own folder of code on the path first.
fn loader(scan: &mut Scan, place: &Place, at: u64, module: &str) {
    if module != "mlflow" && !module.starts_with("mlflow.") {
        let detail = format_args!("the configuration has the module {module:?} imported, which is not MLflow's");
        scan.find_as(Level::Suspicious, &TARGET, place, Some(at), detail);
    }
}

/// Judges a callable that a configuration names. `called`: it certainly is one, as the key has no other use.
pub(super) fn target(scan: &mut Scan, place: &Place, at: u64, path: &str, whole: bool, called: bool) {
    if !whole {
        scan.find(&TEMPLATE_LARGE, place, Some(at), "the name of a callable is too long to be judged");
        return;
    }
    // Where the key has other uses, what is no name is prose.
    if !called && path.trim().contains(char::is_whitespace) {
        return;
    }
    match of_path(scan.rules, path, called) {
        Standing::Denied => {
            scan.find(
                &TARGET,
                place,
                Some(at),
                format_args!("the configuration has {path:?} called, which runs code or opens files"),
            );
        }
        Standing::Unknown if called && !is_model_class(path) || path.contains("${") => {
            let detail = format_args!("the configuration has {path:?} called, which is not known");
            scan.find_as(Level::Suspicious, &TARGET, place, Some(at), detail);
        }
        Standing::Unknown | Standing::Allowed | Standing::Library => {}
    }
}

/// Whether a path is a class, by its name, of a library that configurations build models and optimisers of.
fn is_model_class(path: &str) -> bool {
    const LIBRARIES: &[&str] = &[
        "nemo.collections.",
        "torch.nn.",
        "torch.optim.",
        "torchvision.models.",
        "torchmetrics.",
        "transformers.",
        "diffusers.",
        "pytorch_lightning.",
        "lightning.pytorch.",
        "sklearn.",
    ];
    LIBRARIES.iter().any(|library| path.starts_with(library))
        && path.split('.').all(|part| !part.is_empty() && part.chars().all(|one| one == '_' || one.is_alphanumeric()))
        && path.rsplit('.').next().is_some_and(|name| name.starts_with(|first: char| first.is_ascii_uppercase()))
}

/// How a dotted path stands that a loader resolves by importing as much as it can and walking attributes from there. `alone`:
/// a name without a dot is a builtin.
pub(super) fn of_path(rules: &Ruleset, path: &str, alone: bool) -> Standing {
    // A name of many dots is asked once for each: far beyond what any module has.
    const DOTS_MAX: usize = 64;
    /// Modules that others import and hand on as an attribute, and that no library has as a module of its own.
    const REACHED: &[&str] = &[
        "os",
        "posix",
        "nt",
        "sys",
        "subprocess",
        "builtins",
        "__builtins__",
        "shutil",
        "ctypes",
        "importlib",
        "runpy",
    ];
    let path = path.trim().replace(':', ".");
    let dots: Vec<usize> = path.match_indices('.').map(|(at, _)| at).collect();
    let Some(last) = dots.last() else {
        return if alone { standing(rules, "builtins", &path) } else { Standing::Unknown };
    };
    if dots.len() > DOTS_MAX {
        return Standing::Unknown;
    }
    let whole = standing(rules, &path[..*last], &path[last + 1..]);
    if whole == Standing::Denied {
        return whole;
    }
    let walks_into = dots.windows(2).any(|pair| {
        let (name, rest) = (&path[pair[0] + 1..pair[1]], &path[pair[1] + 1..]);
        standing(rules, &path[..pair[0]], name) == Standing::Denied
            || REACHED.contains(&name) && standing(rules, name, rest) == Standing::Denied
    });
    if walks_into { Standing::Denied } else { whole }
}
