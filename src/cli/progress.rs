//! Progress of long work on standard error.

use super::Global;
use super::secrecy::say;
use crate::train;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Seconds between the plain lines where standard error is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The bar takes what the line leaves, so that no line is longer than the terminal is wide.
const TEMPLATE: &str = "{prefix} [{wide_bar}] {human_pos}/{human_len} {rate}, {eta} left {msg}";

/// Time between two pictures of the endless kind.
const TICK: Duration = Duration::from_millis(200);

/// A bar with rate and time left on a terminal, now and then a line elsewhere.
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    what: &'static str,
    started: Instant,
    printed: Instant,
}

/// How a bar looks.
fn style() -> ProgressStyle {
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        let rate = state.per_sec();
        let _ = write!(out, "{rate:.*}/s", usize::from(rate < 10.0));
    };
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", rate).progress_chars("=> ")
}

impl Progress {
    pub fn new(global: &Global, what: &'static str, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(total),
            if terminal && !global.quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        bar.set_style(style());
        bar.set_prefix(what);
        let now = Instant::now();
        Self { bar, plain: !terminal && !global.quiet, what, started: now, printed: now }
    }

    /// Shows that something is being done of which nobody knows how long it will take; a line elsewhere than on a
    /// terminal.
    pub fn endless(global: &Global, what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            tracing::info!("{what}");
        }
        let progress = Self::new(global, what, 0);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {elapsed}") {
            progress.bar.set_style(style);
        }
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    /// Shows how far the work is.
    pub fn at(&mut self, done: u64, message: &str) {
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
        if self.plain && self.printed.elapsed() > PLAIN_INTERVAL {
            self.printed = Instant::now();
            let total = self.bar.length().unwrap_or(0);
            let seconds = self.started.elapsed().as_secs_f64();
            let left = seconds / done.max(1) as f64 * total.saturating_sub(done) as f64;
            let rate = done as f64 / seconds;
            say(&format!("{}: {done} of {total}, {rate:.0}/s, {left:.0} s left {message}", self.what));
        }
    }
}

/// The bars of a fit: one a part.
pub struct Bars<'g> {
    global: &'g Global,
    current: Option<(&'static str, Progress)>,
}

impl<'g> Bars<'g> {
    pub fn new(global: &'g Global) -> Self {
        Self { global, current: None }
    }

    /// Shows how far a fit is.
    pub fn at(&mut self, progress: train::Progress) {
        if self.current.as_ref().is_none_or(|(what, _)| *what != progress.what) {
            // The last bar has to be gone before the next one draws itself.
            self.current = None;
            self.current = Some((progress.what, Progress::new(self.global, progress.what, progress.total)));
        }
        if let Some((_, bar)) = &mut self.current {
            bar.bar.set_length(progress.total);
            bar.at(progress.done, &format!("epsilon {:.3}", progress.epsilon_spent));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::TermLike;
    use std::io::Result;
    use std::sync::{Arc, Mutex};

    /// A terminal of 80 columns, which keeps the lines that are written to it.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<Vec<String>>>);

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> Result<()> {
            self.0.lock().unwrap().push(text.to_owned());
            Ok(())
        }
        fn clear_line(&self) -> Result<()> {
            Ok(())
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_is_no_longer_than_the_terminal_is_wide() {
        for (what, total, message) in [("marginals", 8_000, "epsilon 1000.000"), ("generate", 100_000_000, "")] {
            let terminal = Terminal::default();
            let bar = ProgressBar::with_draw_target(
                Some(total),
                ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255),
            );
            bar.set_style(style());
            bar.set_prefix(what);
            bar.set_message(message);
            for step in 1..=20 {
                bar.set_position(total * step / 20);
                bar.tick();
            }
            let lines = terminal.0.lock().unwrap();
            assert!(lines.iter().any(|line| line.contains(what)), "{lines:?}");
            for line in lines.iter().filter(|line| !line.trim().is_empty()) {
                assert!(line.trim_end().chars().count() <= 80, "{line:?}");
            }
        }
    }
}
