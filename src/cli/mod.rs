//! The command line: one file a command.
//!
//! Data goes to standard output, logs and progress to standard error. Exit
//! codes: 0 done; 1 failed; 2 usage; 3 bad input; 4 budget refused; 5 the audit
//! found a leak, or the self-test a fault; 130 stopped by the user.

mod account;
pub mod answers;
mod audit;
mod completions;
mod evaluate;
mod facts;
mod fit;
mod generate;
mod infer;
mod inspect;
mod ledger;
mod linked;
mod man;
mod memory;
mod plan;
mod progress;
#[cfg(feature = "test-noise")]
mod replay;
mod run;
mod secrecy;
mod selftest;
mod split;

pub use plan::RunPlan;

use crate::error::{Error, ErrorKind, Result, why};
use crate::output;
use crate::train::{Heard, Stop};
use clap::{Parser, Subcommand};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Level;

/// Differentially private synthetic cohorts from health records
#[derive(Parser)]
#[command(name = "synthward", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Data never leaves this machine: the program holds no network client.
Exit codes: 0 done, 1 failed, 2 usage, 3 bad input, 4 budget refused, 5 leak or fault found,
6 audit inconclusive, 130 stopped: --resume goes on.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options of every command.
#[derive(clap::Args)]
struct Global {
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// Write over files that are there
    #[arg(long, global = true)]
    force: bool,
    /// Threads to use [default: all cores]; the results do not depend on it
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Print errors only
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Print more of what happens
    #[arg(short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Global {
    /// Refuses, before any work is done, to write over a file that nobody said may go, or where none can be written.
    fn may_write(&self, path: &Path) -> Result<()> {
        if output::is_standard(path) {
            return match self.json {
                true => {
                    Err(Error::usage("-o - and --json both write to standard output").remedy("leave one of them out"))
                }
                false => Ok(()),
            };
        }
        self.may_replace(path)?;
        output::check_writable(path)
    }

    /// Gives an answer: where it is to be written as JSON, there, and where nobody wants JSON on standard output, in words.
    fn answer(
        &self,
        output: Option<&Path>,
        answer: &impl serde::Serialize,
        words: impl FnOnce() -> String,
    ) -> Result<()> {
        match output {
            Some(path) if output::is_standard(path) => return print_json(answer),
            Some(path) => output::write_bytes(path, to_json(answer)?.as_bytes())?,
            None => {}
        }
        if self.json { print_json(answer) } else { print(&words()) }
    }

    /// Refuses to write over a file that nobody said may go.
    fn may_replace(&self, path: &Path) -> Result<()> {
        if self.force { Ok(()) } else { output::check_new(path) }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Draft a schema from a table
    Inspect(inspect::Inspect),
    /// Fit a differentially private model to a table
    Fit(fit::Fit),
    /// Divide a table into training rows and a holdout, by person
    Split(split::Split),
    /// Draw a synthetic cohort from a model
    Generate(generate::Generate),
    /// Score rows by a model, or fill their missing cells
    Infer(infer::Infer),
    /// Compare a synthetic table with real ones
    Evaluate(evaluate::Evaluate),
    /// Test whether a synthetic table betrays who was in the training table
    Audit(audit::AuditCommand),
    /// Answer accounting questions
    Account(account::Account),
    /// Open, show, verify or check a ledger
    Ledger(ledger::LedgerCommand),
    /// Say what a run would spend, take and need, before a row is read
    Plan(plan::PlanCommand),
    /// Do all of it: model, cohort, evaluation, audit, report, ledger
    Run(run::Run),
    /// Check this copy of the program on this machine
    Selftest(selftest::SelfTestCommand),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Write the manual pages
    Man(man::Man),
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    ExitCode::from(secrecy::guarded(run))
}

/// The exit code.
fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { 2 } else { 0 };
            // Nothing can be done when the terminal is gone.
            let _ = e.print();
            if code != 0 && std::env::args_os().any(|argument| argument == "--json") {
                tell_json(&Error::usage(
                    e.to_string().trim_start_matches("error: ").lines().next().unwrap_or_default(),
                ));
            }
            return code;
        }
    };
    let json = cli.global.json;
    start_log(&cli.global);
    if let Err(e) = secrecy::forbid_core_dumps() {
        tracing::warn!("core dumps cannot be turned off ({}): a crash may leave the rows on the disk", e.kind());
    }
    #[cfg(feature = "test-noise")]
    let _written_at_the_end = replay::Tape::start();
    match start_threads(&cli.global).and_then(|()| hear_signals()).and_then(|()| dispatch(cli)) {
        Ok(()) => 0,
        Err(e) => {
            secrecy::say(&format!("error: {e}"));
            if json {
                tell_json(&e);
            }
            e.kind.exit_code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Inspect(command) => command.run(global),
        Command::Fit(command) => command.run(global),
        Command::Split(command) => command.run(global),
        Command::Generate(command) => command.run(global),
        Command::Infer(command) => command.run(global),
        Command::Evaluate(command) => command.run(global),
        Command::Audit(command) => command.run(global),
        Command::Account(command) => command.run(global),
        Command::Ledger(command) => command.run(global),
        Command::Plan(command) => command.run(global),
        Command::Run(command) => command.run(global),
        Command::Selftest(command) => command.run(global),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

fn start_log(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => Level::ERROR,
        (false, 0) => Level::INFO,
        (false, 1) => Level::DEBUG,
        (false, _) => Level::TRACE,
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .with_ansi(colour)
        // A log that nobody reads any more is no reason to panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
}

fn start_threads(global: &Global) -> Result<()> {
    let Some(threads) = global.threads else { return Ok(()) };
    if threads == 0 {
        return Err(Error::usage("--threads 0: at least one thread is needed"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|e| Error::failed(format!("starting {threads} threads: {e}")))
}

/// What a signal wishes of a training.
static STOP: Stop = Stop::new();

fn stop() -> &'static Stop {
    &STOP
}

/// Ctrl-C, or a signal to end, takes an intent back of which nothing was drawn, and lets a training take its step to the end
/// and keep itself; the next one, or any where nothing is trained, ends the process at once.
fn hear_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        match STOP.wish() {
            Heard::AfterStep => return secrecy::say("stopping after this step; once more to stop at once"),
            Heard::Nothing => secrecy::say("stopped"),
            Heard::TakenBack(Ok(())) => secrecy::say("stopped: nothing was drawn, and nothing is spent"),
            Heard::TakenBack(Err(e)) => secrecy::say(&format!("stopped: nothing was drawn, but its epsilon counts: {e}")),
            Heard::Drawn => secrecy::say(
                "stopped: the epsilon of the fit counts\n  remedy: give the same command with --resume to go on; it spends \
                 nothing more",
            ),
        }
        std::process::exit(i32::from(ErrorKind::Interrupted.exit_code()));
    })
    .map_err(|e| Error::failed(format!("signals cannot be heard: {e}")))
}

/// Prints text on standard output; a reader that went away is no failure of ours.
fn print(text: &str) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("standard output cannot be written ({})", why(e.kind()))))
        }
        _ => Ok(()),
    }
}

/// Whether standard output has its one JSON object.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Prints a value as one JSON object on standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    TOLD.store(true, Ordering::SeqCst);
    print(&format!("{}\n", to_json(value)?))
}

/// Prints an error as JSON, unless an answer was printed already: a verdict is told in it.
fn tell_json(error: &Error) {
    if !TOLD.load(Ordering::SeqCst) {
        // When standard output is gone, the exit code still tells.
        let _ = print_json(&answers::Refused::of(error));
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("writing JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
