//! Completions and manuals of both programs: a real bash completes by them, and a real roff sets them without a complaint.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tests::{daemon, pty};

fn programs() -> [(&'static str, &'static Path, &'static str); 2] {
    [("mreg", pty::binary(), "1"), ("mregd", daemon::binary(), "8")]
}

fn output(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env_clear().stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What bash would offer for the last word of a line.
fn completed(name: &str, script: &Path, line: &[&str]) -> Vec<String> {
    let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let (last, before) = (line[line.len() - 1], line[line.len() - 2]);
    let run = format!(
        "source '{}'; COMP_WORDS=({words}); COMP_CWORD={}; _{name} {name} '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        line.len() - 1
    );
    let output = Command::new("bash").args(["--norc", "--noprofile", "-c", &run]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// Commands, their own commands, values and options are offered; what is no command of people is not.
#[test]
fn bash_completes() {
    let folder = TempDir::new().unwrap();
    for (name, program, _) in programs() {
        fs::write(folder.path().join(name), output(program, &["completions", "bash"])).unwrap();
        for shell in ["zsh", "fish"] {
            let script = output(program, &["completions", shell]);
            assert!(script.contains(name) && !script.contains("scan-worker"), "{shell}");
        }
    }
    let offered = |name: &str, line: &[&str]| completed(name, &folder.path().join(name), line);
    assert_eq!(offered("mreg", &["mreg", "who"]), ["whoami"]);
    assert_eq!(offered("mreg", &["mreg", "config", "ch"]), ["check"]);
    assert!(offered("mreg", &["mreg", "get", "q"]).contains(&"quarantine".to_owned()));
    assert!(offered("mreg", &["mreg", "get", "models", "--fil"]).contains(&"--filter".to_owned()));
    assert_eq!(offered("mreg", &["mreg", "do", "depr"]), ["deprecate"]);
    assert!(offered("mreg", &["mreg", "do", "re"]).contains(&"release".to_owned()));
    assert_eq!(offered("mregd", &["mregd", "gen"]), ["gen-secret"]);
    assert!(offered("mregd", &["mregd", "log", "rot"]).contains(&"rotate-key".to_owned()));
    assert!(!offered("mregd", &["mregd", "sc"]).contains(&"scan-worker".to_owned()));
}

/// A page as text, without overstriking. A warning is a failure.
fn set_by_groff(page: &Path) -> String {
    let arguments = ["-man", "-ww", "-Tascii", "-P-c", "-P-b", "-P-u"];
    let set = Command::new("groff").args(arguments).arg(page).output().unwrap();
    let told = String::from_utf8_lossy(&set.stderr).into_owned();
    assert!(set.status.success() && told.is_empty(), "{}: {told}", page.display());
    String::from_utf8(set.stdout).unwrap()
}

/// Each command has its page; each page is set by groff with all warnings on, and there are none.
#[test]
fn pages_are_set() {
    let folder = TempDir::new().unwrap();
    let has_groff = Command::new("groff").arg("--version").output().is_ok();
    assert!(has_groff, "tests/run --prepare installs groff-base");
    for (name, program, section) in programs() {
        let out = folder.path().join(name);
        output(program, &["man", "--out", &out.display().to_string()]);
        let mut names: Vec<String> =
            fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert!(names.len() > 12 && names.iter().all(|page| page.ends_with(&format!(".{section}"))), "{names:?}");
        assert!(names.iter().all(|page| !page.contains("worker")), "{names:?}");
        assert_eq!(output(program, &["man"]), fs::read_to_string(out.join(format!("{name}.{section}"))).unwrap());
        for page in &names {
            let text = set_by_groff(&out.join(page));
            assert!(text.contains("NAME") && text.contains("EXIT STATUS"), "{page}: {text}");
        }
        let text = set_by_groff(&out.join(format!("{name}.{section}")));
        let parts: &[&str] = match name {
            "mreg" => &["KEYS", "ENVIRONMENT", "FILES", "MREG_TOKEN_FILE", "128+n", "the first row"],
            _ => &["ENVIRONMENT", "FILES", "JWT_SECRET_KEY", "MREG_DATA_DIR", "another process holds"],
        };
        for part in parts {
            assert!(text.contains(part), "{name}: no {part} in {text}");
        }
    }
}
