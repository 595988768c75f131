//! What there is to be seen: a grid of places and of the states they can be in, and the scenes that no grid has. Each begins
//! with a console of its own, with the same registry, at the same second.

use common::audit::{Checkpoint, Hash, Signer as _};
use common::client::ClientError;
use common::problem::ProblemType;
use common::role::Role;
use common::tls::TlsError;
use tui::action::Call;
use tui::config::Credential;
use tui::event::{EventKind, Size};
use tui::state::{Overlay, ProfileRow};
use tui::trust::{Alarm, BreachKind, KEPT_VERSION, Kept, Trust};
use tui::view::theme::Accent;

use crate::console::{Console, NOW, Registry, refused};
use crate::made_log::{MadeLog, ORIGIN, signer};

/// Where pictures are taken.
const SIZES: &[(u16, u16)] = &[(100, 30), (80, 24), (40, 12)];
/// The six screens have one more, where there is room for everything.
const WIDEST: &[(u16, u16)] = &[(120, 40), (100, 30), (80, 24), (40, 12)];
/// At the edges of the layout's classes, and below them.
const EDGES: &[(u16, u16)] = &[(100, 24), (99, 24), (60, 12), (59, 12), (20, 5), (19, 5), (20, 4), (9, 1), (1, 1)];

/// Entries of the log.
pub(crate) const ENTRIES: u64 = 1_200;

/// Until what is read when a selection rests has been read.
const RESTS_MS: u64 = 400;
/// Until messages that go by themselves have gone, and what is waited for has taken long.
const SETTLES_MS: u64 = 10_000;

/// What kind of place it is decides in which states it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One of the six screens.
    Screen,
    /// A page on something that is read when it is opened.
    Page,
    /// One that shows what is here already.
    Still,
    /// What is asked before something is done: the thing is read first.
    Question,
    /// What lies over a screen, or is typed, and reads nothing.
    Over,
}

/// A place, and the keys that lead there.
#[derive(Debug)]
struct Place {
    name: &'static str,
    kind: Kind,
    /// Keys after each of which the console rests.
    lead: &'static [&'static str],
    /// The keys that open it. None: it is the first thing to be seen.
    open: &'static str,
}

const fn place(name: &'static str, kind: Kind, lead: &'static [&'static str], open: &'static str) -> Place {
    Place { name, kind, lead, open }
}

const PLACES: &[Place] = &[
    place("models", Kind::Screen, &[], ""),
    place("audit", Kind::Screen, &[], "2"),
    place("queue", Kind::Screen, &[], "3"),
    place("quarantine", Kind::Screen, &[], "4"),
    place("users", Kind::Screen, &[], "5"),
    place("health", Kind::Screen, &[], "6"),
    place("model", Kind::Page, &["j"], "<Enter>"),
    place("held", Kind::Page, &["4", "j"], "<Enter>"),
    place("octets", Kind::Page, &["4", "j", "<Enter>"], "<Tab><Enter>"),
    place("user", Kind::Page, &["5", "j"], "<Enter>"),
    place("tokens", Kind::Question, &["5", "j"], "T"),
    place("compared-text", Kind::Page, &["<Enter>", "d"], "nn<Enter>"),
    place("version", Kind::Still, &["<Enter>", "jj"], "<Enter>"),
    place("compared", Kind::Still, &["<Enter>"], "djjj"),
    place("entry", Kind::Still, &["2"], "kk<Enter>"),
    place("item", Kind::Still, &["3", "jjjjjj"], "<Enter>"),
    place("check", Kind::Still, &["6"], "jjj<Enter>"),
    place("delete", Kind::Question, &["j"], "D"),
    place("delete-many", Kind::Question, &["<Space>j<Space>j<Space>"], "D"),
    place("delete-all", Kind::Question, &["/rout<Enter>", "*"], "D"),
    place("edit", Kind::Question, &["j"], "e"),
    place("deprecate", Kind::Question, &["<Enter>"], "X"),
    place("discard", Kind::Question, &["3", "jjjjjj"], "D"),
    place("release", Kind::Question, &["4", "j"], "A"),
    place("lock", Kind::Question, &["5", "j"], "L"),
    place("messages", Kind::Over, &["3"], "!"),
    place("help", Kind::Over, &[], "?"),
    place("help-filtered", Kind::Over, &[], "?/mark<Enter>"),
    place("verification", Kind::Over, &["2"], "V"),
    place("jobs", Kind::Over, &["j"], "Dteam-nlp/ner-multi-998<Enter>J"),
    place("marked", Kind::Over, &[], "<Space>jj<Space>j"),
    place("marked-all", Kind::Over, &[], "*"),
    place("items-marked", Kind::Over, &["3"], "<Space>jjv"),
    place("entries-marked", Kind::Over, &["2"], "k<Space>kkkv"),
    place("blocked", Kind::Over, &["4"], "b"),
    place("filter", Kind::Over, &[], "/rout"),
    place("filter-refused", Kind::Over, &["2"], "/actr:eve<Enter>"),
    place("filter-kept", Kind::Over, &["2"], "/actor:eve outcome:denied<Enter>"),
    place("filter-held", Kind::Over, &["4"], "/verdict:mal"),
    place("filter-users", Kind::Over, &["5"], "/role:viewer<Enter>"),
    place("filter-health", Kind::Over, &["6"], "/blob<Enter>"),
    place("count", Kind::Over, &[], "12"),
    place("time", Kind::Over, &["2"], "t12:0"),
    place("note", Kind::Over, &["4", "j"], "nasked dave"),
    place("export", Kind::Over, &[], "x"),
    place("entries-export", Kind::Over, &["2", "k<Space>"], "x"),
    place("delete-typed", Kind::Over, &["j", "D"], "team-nlp/ner"),
    place("delete-mistyped", Kind::Over, &["j", "D"], "team-nlp/ner<Enter>"),
    place("alias", Kind::Over, &[], "p"),
    place("alias-question", Kind::Over, &["p"], "<Tab><Down><Enter>"),
    place("password", Kind::Over, &["5", "j"], "Py"),
    place("role", Kind::Over, &["5", "j"], "R"),
    place("grants", Kind::Over, &["5", "j"], "e"),
    place("sessions", Kind::Over, &["5", "j"], "E"),
    place("add-user", Kind::Over, &["5"], "a"),
    place("tokens-own", Kind::Over, &[], "K"),
    place("add-token", Kind::Over, &["K"], "a"),
    place("rotate-token", Kind::Over, &["K"], "r"),
    place("pause", Kind::Over, &["3"], "P"),
    place("block", Kind::Over, &["4", "j"], "X"),
    place("rescan", Kind::Over, &["4", "j"], "r"),
    place("palette", Kind::Over, &[], ":"),
    place("palette-alias", Kind::Over, &[], ":alias int"),
    place("palette-nothing", Kind::Over, &[], ":zzz"),
    place("palette-refused", Kind::Over, &[], ":export csv some f<Enter>"),
    place("change-password", Kind::Over, &[], ":change-password<Enter>"),
    place("factor", Kind::Over, &[], "<C-k>"),
    place("factor-code", Kind::Over, &["<C-k>"], "secret password<Enter>"),
    place("factor-done", Kind::Over, &["<C-k>", "secret password<Enter>"], "123456<Enter>"),
];

/// A state, and how a place comes to be in it.
struct State {
    name: &'static str,
    fits: fn(&Place) -> bool,
    /// What the registry is like from the beginning.
    registry: fn(&mut Registry),
    /// Requests are not answered any more from when the place is opened.
    waits: bool,
    /// What befalls the registry before the place is opened.
    before: fn(&mut Registry),
    /// What happens then.
    after: fn(&mut Console),
    /// How long it is let be.
    settles_ms: u64,
}

/// A place as it is on any day.
const NORMAL: State = State {
    name: "normal",
    fits: |_| true,
    registry: |_| (),
    waits: false,
    before: |_| (),
    after: |_| (),
    settles_ms: SETTLES_MS,
};

fn is_screen(place: &Place) -> bool {
    place.kind == Kind::Screen
}

/// Whether it is asked for with signing in already.
fn is_read_at_once(place: &Place) -> bool {
    ["models", "health"].contains(&place.name)
}

fn reads(place: &Place) -> bool {
    matches!(place.kind, Kind::Screen | Kind::Page | Kind::Question)
}

fn unavailable(registry: &mut Registry) {
    registry.failure = Some(refused(ProblemType::Unavailable));
}

fn offline(registry: &mut Registry) {
    let cause = "connection refused".to_owned();
    registry.failure = Some(ClientError::Offline { address: "127.0.0.1:8000".into(), cause });
}

const STATES: &[State] = &[
    NORMAL,
    State {
        name: "empty",
        // There is always a user, and health always has checks.
        fits: |place| is_screen(place) && !["users", "health"].contains(&place.name),
        registry: |registry| {
            (registry.models, registry.entries, registry.quiet) = (0, 0, true);
            registry.has_log = false;
        },
        ..NORMAL
    },
    State {
        name: "filtered-away",
        fits: |place| is_screen(place) && place.name != "health",
        registry: |registry| registry.finds_nothing = true,
        after: |console| {
            console.press("/nobody<Enter>");
        },
        ..NORMAL
    },
    State { name: "loading", fits: reads, waits: true, ..NORMAL },
    State {
        name: "stale",
        // What the stream brings is never stale; it is cut.
        fits: |place| matches!(place.kind, Kind::Screen | Kind::Page) && place.name != "audit",
        after: |console| {
            unavailable(&mut console.registry);
            console.press("<C-r>");
        },
        ..NORMAL
    },
    State {
        name: "offline",
        fits: |place| is_screen(place) && place.name != "audit",
        after: |console| {
            offline(&mut console.registry);
            console.press("<C-r>");
        },
        ..NORMAL
    },
    State { name: "never-read", fits: is_screen, before: offline, ..NORMAL },
    State {
        name: "denied",
        fits: is_screen,
        registry: |registry| registry.role = Role::Viewer,
        // Who may see it is a message, which goes.
        settles_ms: 0,
        ..NORMAL
    },
    State {
        name: "forbidden",
        // The daemon refuses what was believed to be allowed.
        fits: |place| matches!(place.kind, Kind::Screen | Kind::Page),
        before: |registry| {
            registry.failure = Some(refused(ProblemType::Forbidden));
            registry.fails = |call| *call != Call::Me;
        },
        ..NORMAL
    },
    State { name: "error", fits: reads, before: unavailable, ..NORMAL },
    State {
        name: "protocol",
        fits: is_screen,
        before: |registry| {
            let what = "items[3].size: invalid type: string \"\u{1b}[2Jbig\", expected u64";
            registry.failure = Some(ClientError::Protocol(what.into()));
        },
        ..NORMAL
    },
    State {
        name: "hostile",
        fits: |place| place.kind != Kind::Over || ["messages", "blocked"].contains(&place.name),
        registry: |registry| registry.hostile = true,
        ..NORMAL
    },
];

impl State {
    /// A console that is in this state at a place.
    fn at(&self, place: &Place, size: Size) -> Console {
        let mut registry = registry();
        (self.registry)(&mut registry);
        let mut console = followed(size, registry);
        // What is asked for at once is answered only when the place is opened, if it is that.
        console.hold = true;
        console.begin(Credential::Token);
        console.feed(EventKind::Date(NOW));
        let (id, call) = console.held.remove(0);
        assert_eq!(call, Call::Me, "who is there is asked first");
        console.answer(id, call);
        if !is_read_at_once(place) {
            console.release();
        }
        for keys in place.lead {
            console.press(keys).wait(RESTS_MS);
        }
        (self.before)(&mut console.registry);
        if self.waits {
            console.hold = true;
        } else {
            console.release();
        }
        console.press(place.open).wait(RESTS_MS);
        (self.after)(&mut console);
        console.wait(self.settles_ms).see();
        console
    }
}

/// Something to be seen.
pub(crate) struct Scene {
    /// Where.
    pub(crate) place: &'static str,
    /// How it stands there.
    pub(crate) state: &'static str,
    /// At these sizes.
    pub(crate) sizes: &'static [(u16, u16)],
    make: Make,
}

enum Make {
    Grid(&'static State, &'static Place),
    Own(fn(Size) -> Console),
}

impl Scene {
    /// It, at a size.
    pub(crate) fn at(&self, width: u16, height: u16) -> Console {
        let size = Size { width, height };
        match self.make {
            Make::Grid(state, place) => state.at(place, size),
            Make::Own(make) => make(size),
        }
    }
}

/// All there is to be seen.
pub(crate) fn all() -> Vec<Scene> {
    let grid = PLACES.iter().flat_map(|place| STATES.iter().map(move |state| (state, place)));
    let grid = grid.filter(|(state, place)| (state.fits)(place)).map(|(state, place)| Scene {
        place: place.name,
        state: state.name,
        sizes: if is_screen(place) && state.name == NORMAL.name { WIDEST } else { SIZES },
        make: Make::Grid(state, place),
    });
    let own = OWN.iter().map(|(place, state, make)| Scene {
        place,
        state,
        sizes: if *place == "sizes" { EDGES } else { SIZES },
        make: Make::Own(*make),
    });
    grid.chain(own).collect()
}

// ---- scenes that no grid has ----------------------------------------------------------------------------------------

/// A place, a state, and how to get there.
type Own = (&'static str, &'static str, fn(Size) -> Console);

const OWN: &[Own] = &[
    ("sizes", "normal", |size| signed_in(size, &[])),
    ("sizes", "login", |size| login(size, |_| (), "secret password")),
    ("sizes", "question", |size| signed_in(size, &["j", "D"])),
    ("sizes", "reason", |size| signed_in(size, &["4", "j", "A"])),
    ("start", "loading", |size| {
        let mut console = Console::new(size, Registry::default());
        console.hold = true;
        console.begin(Credential::Token);
        console
    }),
    ("start", "offline", |size| {
        let mut registry = Registry::default();
        offline(&mut registry);
        let mut console = Console::new(size, registry);
        console.begin(Credential::Token);
        console
    }),
    ("start", "refused", |size| {
        let failure = Some(refused(ProblemType::Unauthenticated));
        let mut console = Console::new(size, Registry { failure, ..Registry::default() });
        console.begin(Credential::Token);
        console
    }),
    ("login", "normal", |size| login(size, |_| (), "secret password")),
    ("login", "loading", |size| {
        let mut console = login(size, |_| (), "secret password");
        console.hold = true;
        console.press("<Enter>");
        console
    }),
    ("login", "error", |size| {
        let mut console = login(size, |_| (), "secret password");
        console.registry.failure = Some(refused(ProblemType::BadCredentials));
        console.press("<Enter>");
        console
    }),
    ("login", "offline", |size| {
        let mut console = login(size, |_| (), "secret password");
        offline(&mut console.registry);
        console.press("<Enter>");
        console
    }),
    ("login", "second-factor", |size| {
        let mut console = login(size, |_| (), "secret password");
        console.registry.failure = Some(refused(ProblemType::SecondFactorRequired));
        console.press("<Enter>1234");
        console
    }),
    ("login", "second-factor-wrong", |size| {
        let mut console = login(size, |_| (), "secret password");
        console.registry.failure = Some(refused(ProblemType::SecondFactorRequired));
        console.press("<Enter>123456<Enter>");
        console
    }),
    ("login", "remember", |size| login(size, |console| console.state.settings.can_remember = true, "secret<Tab>")),
    ("login", "tls", |size| login(size, |console| console.state.settings.tls = true, "secret")),
    ("login", "tls-refused", |size| {
        login(
            size,
            |console| {
                console.state.settings.tls = true;
                let problem =
                    TlsError::WrongName { host: "registry.example".into(), names: vec!["other.example".into()] };
                console.registry.failure =
                    Some(ClientError::Tls { address: "https://registry.example".into(), problem });
            },
            "secret",
        )
    }),
    ("login", "expired", |size| {
        let mut console = signed_in(size, &["5", "j"]);
        console.registry.failure = Some(refused(ProblemType::Unauthenticated));
        console.press("<C-r>").wait(RESTS_MS);
        console
    }),
    ("login", "locked", |size| {
        let mut console = Console::new(size, Registry::default());
        console.state.settings.lock_after_ms = Some(900_000);
        console.begin(Credential::Token);
        console.press("j").wait(901_000);
        console
    }),
    ("login", "broken", |size| {
        login(size, |console| console.state.log.trust = believed(true, Some(alarm())), "secret")
    }),
    ("login", "unconfirmed", |size| login(size, |console| console.state.log.trust = believed(false, None), "secret")),
    ("login", "long-address", |size| {
        login(
            size,
            |console| {
                console.state.settings.profile = "production-eu-central".into();
                console.state.settings.address = "registry.a-rather-long-name.internal.example.org:8443".into();
            },
            "secret",
        )
    }),
    ("must-change-password", "normal", |size| {
        let mut console = login(size, |console| console.registry.must_change_password = true, "secret password");
        console.press("<Enter>");
        console
    }),
    ("must-change-password", "error", |size| {
        let mut console = login(size, |console| console.registry.must_change_password = true, "secret password");
        console.press("<Enter>");
        console.registry.failure = Some(refused(ProblemType::WeakPassword));
        console.press("short<Tab>short<Enter>");
        console
    }),
    ("must-set-up-a-factor", "normal", |size| {
        let mut console = login(size, |console| console.registry.must_enrol_totp = true, "secret password");
        console.press("<Enter>");
        console
    }),
    ("alarm", "normal", |size| {
        let mut console = with_trust(size, "2", believed(true, Some(alarm())), "");
        console.state.overlay = Some(Overlay::Alarm(0));
        console
    }),
    ("alarm", "acknowledging", |size| {
        let mut console = with_trust(size, "2", believed(true, Some(alarm())), "");
        console.press("Aa disk was put back").see();
        console
    }),
    ("models", "broken", |size| with_trust(size, "1", believed(true, Some(alarm())), "")),
    ("audit", "broken", |size| with_trust(size, "2", believed(true, Some(alarm())), "")),
    ("models", "unconfirmed", |size| with_trust(size, "1", believed(false, None), "")),
    ("verification", "broken", |size| with_trust(size, "2", believed(true, Some(alarm())), "V")),
    ("verification", "unconfirmed", |size| with_trust(size, "2", believed(false, None), "V")),
    ("verification", "trusting", |size| with_trust(size, "2", believed(false, None), "VT2f6a90")),
    ("audit", "not-live", |size| crate::log::not_live(size.width, size.height)),
    ("audit", "stale", |size| {
        let mut console = with(size, Registry::default(), &["2"]);
        unavailable(&mut console.registry);
        console.press("<C-r>").wait(SETTLES_MS);
        console
    }),
    ("audit", "offline", |size| {
        let mut console = crate::log::cut(signed_in(size, &["2"]));
        console.wait(SETTLES_MS);
        console
    }),
    ("audit", "late", |size| {
        let mut console = crate::log::pending(size.width, size.height);
        console.wait(70_000).see();
        console
    }),
    ("audit", "pending", |size| crate::log::pending(size.width, size.height)),
    ("models", "touched", |size| touched(size, "1")),
    ("queue", "touched", |size| touched(size, "3")),
    ("quarantine", "touched", |size| touched(size, "4")),
    ("users", "touched", |size| touched(size, "5")),
    ("queue", "troubled", |size| troubled(size, "3")),
    ("health", "troubled", |size| troubled(size, "6")),
    ("queue", "still", |size| signed_in(size, &["3", "f"])),
    ("health", "still", |size| signed_in(size, &["6", "f"])),
    ("models", "profile", |size| {
        let mut console = Console::new(size, Registry::default());
        let settings = &mut console.state.settings;
        (settings.profile, settings.accent) = ("prod-eu".into(), Some(Accent::Red));
        (settings.readonly, settings.plain, settings.mouse) = (true, true, true);
        console.begin(Credential::Token);
        console.press("jD").wait(RESTS_MS);
        console
    }),
    ("models", "not-allowed", |size| with(size, Registry { role: Role::Viewer, ..registry() }, &["jD"])),
    ("queue", "not-allowed", |size| with(size, Registry { role: Role::Viewer, ..registry() }, &["3", "D"])),
    ("palette", "denied", |size| with(size, Registry { role: Role::Viewer, ..registry() }, &[":del"])),
    ("help", "denied", |size| with(size, Registry { role: Role::Viewer, ..registry() }, &["?"])),
    ("models", "deleted", |size| signed_in(size, &["j", "Dteam-nlp/ner-multi-998<Enter>"])),
    ("models", "not-deleted", |size| {
        let mut console = signed_in(size, &["j"]);
        console.registry.changes.push_back(refused(ProblemType::PreconditionFailed));
        console.press("Dteam-nlp/ner-multi-998<Enter>").wait(RESTS_MS);
        console
    }),
    ("models", "not-known", |size| {
        let mut console = signed_in(size, &["j"]);
        let lost = || ClientError::Timeout { address: "127.0.0.1:8000".into(), seconds: 10 };
        console.registry.changes.extend([lost(), lost()]);
        console.press("Dteam-nlp/ner-multi-998<Enter>").wait(RESTS_MS);
        console
    }),
    ("jobs", "empty", |size| signed_in(size, &["J"])),
    ("jobs", "error", |size| {
        let mut console = signed_in(size, &["<Space>j<Space>j<Space>"]);
        console.registry.changes.push_back(refused(ProblemType::Conflict));
        console.press("D3<Enter>J").wait(SETTLES_MS).see();
        console
    }),
    ("jobs", "running", |size| {
        let mut console = signed_in(size, &["<Space>j<Space>j<Space>", "D3"]);
        console.hold = true;
        console.press("<Enter>J").wait(RESTS_MS);
        console
    }),
    ("edit", "refused", |size| {
        let mut console = signed_in(size, &["j", "e"]);
        console.registry.changes.push_back(refused(ProblemType::Invalid));
        console.press(" and more<Enter><Enter>").wait(RESTS_MS);
        console
    }),
    ("edit", "leaving", |size| signed_in(size, &["j", "e", " and more<Esc>"])),
    ("messages", "error", |size| {
        let mut console = signed_in(size, &["3"]);
        let mut error = refused(ProblemType::Unavailable);
        if let ClientError::Problem { problem, retry_after_seconds } = &mut error {
            problem.detail = "\u{202e}\u{1b}[2Jthe disk is full\nand the next line".into();
            *retry_after_seconds = Some(7);
        }
        console.registry.failure = Some(error);
        console.press("<C-r>").wait(RESTS_MS);
        offline(&mut console.registry);
        console.press("<C-r>").wait(RESTS_MS).press("!").see();
        console
    }),
    ("messages", "filtered-away", |size| signed_in(size, &["3", "!", "/nobody<Enter>"])),
    ("help", "filtered-away", |size| signed_in(size, &["?", "/zzz<Enter>"])),
    ("daemons", "normal", |size| daemons(size, "a-name-that-is-long", "127.0.0.1:8001")),
    ("daemons", "empty", |size| signed_in(size, &["@"])),
    ("daemons", "hostile", |size| daemons(size, "\u{202e}evil\u{1b}[2J", "\u{7}日本語.example")),
];

/// The registry, with a log that can be followed.
fn registry() -> Registry {
    Registry { entries: ENTRIES, has_log: true, ..Registry::default() }
}

/// A console that follows the log, if there is one, and knows its key.
pub(crate) fn followed(size: Size, registry: Registry) -> Console {
    let mut console = Console::new(size, registry);
    console.state.settings.log.live = console.registry.has_log;
    console.state.log.trust = Trust::new("127.0.0.1:8000", Some(MadeLog::verifier()), vec![], 0, None);
    console
}

/// Signed in, with keys after each of which the console rests.
fn signed_in(size: Size, keys: &[&str]) -> Console {
    with(size, registry(), keys)
}

/// The same with a registry that is another.
fn with(size: Size, registry: Registry, keys: &[&str]) -> Console {
    let mut console = followed(size, registry);
    console.begin(Credential::Token);
    console.feed(EventKind::Date(NOW));
    for keys in keys {
        console.press(keys).wait(RESTS_MS);
    }
    console.see();
    console
}

/// At the login dialog.
fn login(size: Size, before: fn(&mut Console), typed: &str) -> Console {
    let mut console = Console::new(size, Registry::default());
    before(&mut console);
    console.begin(Credential::Ask);
    console.press(typed);
    console
}

fn troubled(size: Size, keys: &str) -> Console {
    let mut console = with(size, Registry { troubled: true, ..registry() }, &[keys]);
    console.wait(SETTLES_MS);
    console
}

fn touched(size: Size, key: &str) -> Console {
    let mut console = crate::log::touched(size.width, size.height);
    console.press(key).wait(RESTS_MS);
    console
}

/// The log is followed and this is believed of it.
fn with_trust(size: Size, screen: &str, trust: Trust, keys: &str) -> Console {
    let mut console = signed_in(size, &[screen]);
    console.hold = true;
    console.state.log.trust = trust;
    console.press(keys).wait(RESTS_MS).see();
    console
}

/// What a file kept of the log says.
fn believed(confirmed: bool, alarm: Option<Alarm>) -> Trust {
    let signer = signer();
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: ENTRIES, root: Hash([9; 32]) };
    let kept = Kept {
        version: KEPT_VERSION,
        address: "127.0.0.1:8000".into(),
        keys: vec![signer.verifier().to_string()],
        confirmed,
        note: checkpoint.sign(&[&signer]).unwrap(),
        seen_at: NOW - 60,
        alarm,
        unsent: Vec::new(),
        settled: Vec::new(),
        full_check: None,
    };
    Trust::new("127.0.0.1:8000", None, vec![], 0, Some(kept))
}

fn alarm() -> Alarm {
    Alarm {
        kind: BreachKind::Entry,
        what: "entry 1190 is not the one the log committed to".into(),
        facts: vec![
            ("Expected leaf".into(), "8d10f4c29be10277a9d4c02b6e1f5a3d0c9b8e7f6a5d4c3b2a190807060504f3".into()),
            ("Received leaf".into(), "41aa0e93d7c2b1a0998877665544332211ffeeddccbbaa00112233445566778e".into()),
        ],
        index: Some(1_190),
        at: NOW - 30,
        evidence: Some("/home/alice/.local/state/mreg/evidence-127.0.0.1-8000-20260722T120241Z.json".into()),
        last_good: Some((1_185, "l3sW1wKlH8jVd0hH1u1Zp0S5mYbJvZg8cV7mC1m1yq7=".into())),
        last_good_at: NOW - 60,
    }
}

fn daemons(size: Size, name: &str, url: &str) -> Console {
    let mut console = signed_in(size, &[]);
    console.state.settings.profile = "prod-eu".into();
    let profiles = [
        ("prod-eu", "registry.example", Some(Accent::Red), "strict"),
        ("staging", "staging.example:8000", Some(Accent::Green), "read-only, remember"),
        (name, url, None, ""),
    ];
    console.state.settings.profiles = profiles
        .map(|(name, url, accent, notes)| ProfileRow {
            name: name.into(),
            url: format!("http://{url}"),
            user: "alice".into(),
            accent,
            notes: notes.into(),
        })
        .into();
    console.press("@j").see();
    console
}
