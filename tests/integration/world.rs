//! The vocabulary of the tests: a folder, the program in it, and what it answered.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A text that stands in a cell of the tables that are refused: no message may repeat it.
pub const SECRET: &str = "zq-secret-7741";

/// The SHA-256 of bytes, in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of its own.
pub struct World {
    folder: PathBuf,
    /// The steps of fits at most; none: as many as a user's take.
    steps: Option<&'static str>,
    _removed_at_the_end: Option<TempDir>,
}

fn words(arguments: &str) -> Vec<&str> {
    arguments.split_whitespace().collect()
}

/// Arguments that let a command write over what earlier ones of a test left.
fn over<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let writes = ["fit", "generate", "run", "inspect", "infer", "evaluate", "audit"];
    let is_asked = arguments.first().is_some_and(|first| writes.contains(first)) && !arguments.contains(&"--force");
    arguments.iter().copied().chain(is_asked.then_some("--force")).collect()
}

/// What the program answered.
pub struct Outcome {
    command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// An empty folder that goes with the test.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder: folder.path().to_path_buf(), steps: None, _removed_at_the_end: Some(folder) }
    }

    /// An empty folder under the build folder, for what several tests share.
    pub fn shared(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        Self { folder, steps: None, _removed_at_the_end: None }
    }

    /// Fits here are short, for what is learnt shows nothing.
    pub fn of_few_steps(self) -> Self {
        Self { steps: Some("8"), ..self }
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synthward"));
        for name in ["SYNTHWARD_TEST_STEPS", "SYNTHWARD_TEST_MIXTURE_STEPS"] {
            command.envs(self.steps.map(|steps| (name, steps)));
        }
        command.envs(self.steps.map(|_| ("SYNTHWARD_TEST_DRAWN_UNITS", "500")));
        command.current_dir(&self.folder);
        command
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Runs `synthward` in the folder, on arguments separated by blanks. What lies there may be written over.
    pub fn run(&self, arguments: &str) -> Outcome {
        self.run_in(Stdio::null(), ("NO_COLOR", "1"), &over(&words(arguments)))
    }

    /// As somebody runs it who writes nothing over.
    pub fn run_carefully(&self, arguments: &str) -> Outcome {
        self.run_in(Stdio::null(), ("NO_COLOR", "1"), &words(arguments))
    }

    /// The same on arguments that may hold blanks.
    pub fn run_words(&self, arguments: &[&str]) -> Outcome {
        self.run_in(Stdio::null(), ("NO_COLOR", "1"), &over(arguments))
    }

    /// The same with a file of the folder as standard input.
    pub fn pipe(&self, name: &str, arguments: &str) -> Outcome {
        let file = File::open(self.path(name)).unwrap();
        self.run_in(file.into(), ("NO_COLOR", "1"), &over(&words(arguments)))
    }

    /// The same with a variable of the environment set.
    pub fn run_with(&self, variable: &str, value: &str, arguments: &str) -> Outcome {
        self.run_in(Stdio::null(), (variable, value), &over(&words(arguments)))
    }

    /// Runs a script of the shell in the folder, in which `synthward` is the program.
    pub fn shell(&self, script: &str) -> Outcome {
        let script = format!("synthward() {{ '{}' \"$@\"; }}\n{script}", env!("CARGO_BIN_EXE_synthward"));
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &script]).current_dir(&self.folder).stdin(Stdio::null()).output().unwrap();
        Outcome::new(script, output)
    }

    /// The program on arguments separated by blanks, not yet started, so that a test can do things to it.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = self.program();
        command.args(over(&words(arguments))).stdin(Stdio::null()).env("NO_COLOR", "1");
        command
    }

    fn run_in(&self, input: Stdio, (variable, value): (&str, &str), arguments: &[&str]) -> Outcome {
        let output = self.program().args(arguments).stdin(input).env(variable, value).output().unwrap();
        Outcome::new(format!("synthward {}", arguments.join(" ")), output)
    }

    /// No file of a run's folder has the bare sum of these real tables, by which a guess at a row could be tested; the reports
    /// have the salted one.
    pub fn tells_tables_by_salted_sums_alone(&self, out: &str, reports: &[(&str, &str)]) {
        let salt = self.read(&format!("{out}/tables.salt"));
        for (report, table) in reports {
            let bare = sha256(&self.read(table));
            let salted = sha256(&[&salt, bare.as_bytes()].concat());
            for ending in ["json", "html"] {
                assert!(self.text(&format!("{out}/{report}.{ending}")).contains(&salted), "{report}.{ending}: {table}");
            }
            for (name, content) in self.files() {
                let has = content.windows(bare.len()).any(|window| window == bare.as_bytes());
                assert!(!has || !name.starts_with(self.path(out)), "{}: {table}", name.display());
            }
        }
    }

    /// Runs a command that must be refused with this exit code and words, without quoting a cell, and without
    /// changing a file. The ledger may say that a fit was meant and refused.
    pub fn refuses(&self, code: i32, arguments: &str, words: &[&str]) {
        let before = self.files();
        let spent = || self.run("ledger show ledger.jsonl --json").succeeds().json()["epsilon"].clone();
        let spent_before = if before.contains_key(&self.path("ledger.jsonl")) { spent() } else { 0.0.into() };
        let outcome = self.run(arguments).exits(code).says(words);
        for printed in [&outcome.stdout, &outcome.stderr] {
            assert!(!printed.contains(SECRET), "{outcome}");
        }
        assert_eq!(outcome.stdout, "", "{outcome}");
        let (mut before, mut after) = (before, self.files());
        before.remove(&self.path("ledger.jsonl"));
        before.remove(&self.path("ledger.jsonl.head"));
        after.remove(&self.path("ledger.jsonl.head"));
        if after.remove(&self.path("ledger.jsonl")).is_some() {
            assert_eq!(spent(), spent_before, "a refused fit was charged: {outcome}");
        }
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&before), names(&after), "{outcome}");
        assert!(before == after, "a file was changed: {outcome}");
    }

    /// Every file under the folder with its content.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        files
    }
}

impl Outcome {
    pub fn new(command: String, output: std::process::Output) -> Self {
        Self {
            command,
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// A run that made everything. Its audit may find a leak, by chance once in a hundred runs, and where epsilon is large
    /// because there is one; and of few people it is inconclusive.
    pub fn runs(self) -> Self {
        assert!(matches!(self.code, Some(0 | 5 | 6)), "{self}");
        self
    }

    /// Every one of these stands on standard error.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not said: {self}");
        }
        self
    }

    /// Standard output is one JSON object and nothing else.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr, .. } = self;
        write!(f, "{command}\nexit code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
