//! Completions and man pages of a program, from the description of its command line. What that description does not say,
//! the environment, the files, the keys, is given beside it. Writes nothing anywhere: a page is a name and its text.

use std::io;

use clap::{Command, ValueEnum};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The shells that are helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "a shell says its name")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The completions of a program, to be read by a shell.
pub fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// A heading within the section.
    Head(String),
    /// Something, and what is said of it.
    Term(String, String),
}

/// A section that the command line's description does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its heading, in capitals.
    pub title: &'static str,
    /// Whether the pages of the sub-commands have it as well.
    pub everywhere: bool,
    /// What is in it.
    pub parts: Vec<Part>,
}

/// A program's manual.
#[derive(Debug, Clone)]
pub struct Manual {
    /// Its command line.
    pub command: Command,
    /// The section of the system's manual: 1 for everybody's programs, 8 for those of administrators.
    pub section: u8,
    /// What the description does not say, in order.
    pub sections: Vec<Section>,
}

/// A page: the name of its file, and its text in roff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManPage {
    /// `mreg-get.1`.
    pub name: String,
    /// What `man` reads.
    pub text: Vec<u8>,
}

impl Manual {
    /// All pages: that of the program first, then one for each sub-command, as git has them.
    ///
    /// # Errors
    /// What the writer of roff says.
    pub fn pages(&self) -> io::Result<Vec<ManPage>> {
        let mut root = self.command.clone().disable_help_subcommand(true);
        root.build();
        let mut pages = Vec::new();
        self.add(&root, &mut pages)?;
        Ok(pages)
    }

    fn add(&self, command: &Command, pages: &mut Vec<ManPage>) -> io::Result<()> {
        let is_root = pages.is_empty();
        pages.push(self.page(command, is_root)?);
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            self.add(command, pages)?;
        }
        Ok(())
    }

    fn page(&self, command: &Command, is_root: bool) -> io::Result<ManPage> {
        let program = self.command.get_name().to_owned();
        // Options that every sub-command takes are on the program's own page, once.
        let own = match is_root {
            true => command.clone(),
            false => command.clone().mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg }),
        };
        let has_options = own.get_arguments().any(|arg| !arg.is_hide_set());
        let has_commands = own.get_subcommands().any(|command| !command.is_hide_set());
        let version = self.command.get_version().unwrap_or_default();
        let man = Man::new(own)
            .section(self.section.to_string())
            .source(format!("{program} {version}").trim_end().to_owned())
            .manual(format!("{program} manual"));
        let name = man.get_filename();
        let mut text = Vec::new();
        man.render_title(&mut text)?;
        // Addresses and paths are long words: lines end where they end.
        let mut ragged = Roff::new();
        ragged.control("ad", ["l"]);
        ragged.to_writer(&mut text)?;
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        if has_options {
            man.render_options_section(&mut text)?;
        }
        if !is_root {
            let all =
                format!("The options of {program}({}) that hold for every command may stand here too.", self.section);
            let title = if has_options { "COMMON OPTIONS" } else { "OPTIONS" };
            section(&Section { title, everywhere: true, parts: vec![Part::Text(all)] }).to_writer(&mut text)?;
        }
        if has_commands {
            man.render_subcommands_section(&mut text)?;
        }
        for more in self.sections.iter().filter(|section| is_root || section.everywhere) {
            section(more).to_writer(&mut text)?;
        }
        if !is_root {
            let see = Part::Text(format!("{program}({})", self.section));
            section(&Section { title: "SEE ALSO", everywhere: true, parts: vec![see] }).to_writer(&mut text)?;
        }
        Ok(ManPage { name, text })
    }
}

fn section(section: &Section) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [section.title]);
    for part in &section.parts {
        match part {
            Part::Text(text) => {
                roff.control("PP", []);
                roff.text([roman(text)]);
            }
            Part::Head(text) => {
                roff.control("SS", [text.as_str()]);
            }
            Part::Term(term, text) => {
                roff.control("TP", []);
                roff.text([bold(term)]);
                roff.text([roman(text)]);
            }
        }
    }
    roff
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use clap::{Arg, Command};

    use super::{Manual, Part, Section, Shell, completions};

    fn program() -> Command {
        Command::new("demo")
            .version("1.2")
            .about("A program")
            .arg(Arg::new("all").long("all").global(true).help("Everything"))
            .subcommand(
                Command::new("config").about("Settings").subcommand(Command::new("check").about("Look at them")),
            )
            .subcommand(Command::new("secret").hide(true))
    }

    /// One page a command, hidden ones apart; what is global is said once; what was given beside is there, escaped.
    #[test]
    fn pages() {
        let section = |title, everywhere| Section {
            title,
            everywhere,
            parts: vec![Part::Head("a".into()), Part::Term(".x".into(), "'y\\z -".into()), Part::Text("t".into())],
        };
        let manual = Manual {
            command: program(),
            section: 1,
            sections: vec![section("FILES", false), section("EXIT STATUS", true)],
        };
        let pages = manual.pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names, ["demo.1", "demo-config.1", "demo-config-check.1"]);
        let text = |at: usize| String::from_utf8(pages[at].text.clone()).unwrap();
        assert!(text(0).contains(".SH FILES") && text(0).contains("\\-\\-all") && !text(0).contains("secret"));
        assert!(!text(2).contains(".SH FILES") && text(2).contains("EXIT STATUS") && !text(2).contains("\\-\\-all"));
        // Neither begins a line that roff would take for a request.
        assert!(text(0).contains("\\fB.x\\fR") && text(0).contains("\\*(Aqy\\\\z \\-"), "{}", text(0));
    }

    #[test]
    fn scripts() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(program(), shell)).unwrap();
            assert!(script.contains("demo") && script.contains("config"), "{shell:?}");
        }
    }
}
