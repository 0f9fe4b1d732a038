//! The report: its committed example, and the page in a browser.

use crate::world::{World, sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use synthward::report::{Release, Report, render, render_release};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/example").join(name)
}

/// `reports/example` is what the templates and the types say: `UPDATE_EXAMPLE=1 cargo test example` writes it anew from
/// the figures in it. When the figures themselves are to change: `synthward run reports/example/run.toml`.
#[test]
fn the_example_is_up_to_date() {
    let read = |name: &str| std::fs::read_to_string(example(name)).unwrap();
    let report: Report = serde_json::from_str(&read("report.json")).unwrap();
    let twin = serde_json::to_string_pretty(&report).unwrap();
    let page = render(&report, Some(&sha256(twin.as_bytes()))).unwrap();
    let release: Release = serde_json::from_str(&read("release.json")).unwrap();
    let released = serde_json::to_string_pretty(&release).unwrap();
    let release_page = render_release(&release, Some(&sha256(released.as_bytes()))).unwrap();
    let files =
        [("report.json", twin), ("report.html", page), ("release.json", released), ("release.html", release_page)];
    for (name, text) in files {
        if std::env::var_os("UPDATE_EXAMPLE").is_some() {
            std::fs::write(example(name), &text).unwrap();
        }
        assert!(text == read(name), "reports/example/{name} is stale: run UPDATE_EXAMPLE=1 cargo test example");
    }
    World::new().of_few_steps().run(&format!("plan {}", example("run.toml").display())).succeeds();
}

/// What a browser finds in the page when it opens every detail and looks at every text. The title says it.
const LOOK: &str = r#"<script>
addEventListener("load", () => {
  const faults = new Set();
  for (const details of document.querySelectorAll("details")) {
    details.querySelector("summary").click();
    if (!details.open) faults.add("a detail stays shut");
  }
  for (const link of document.querySelectorAll("a[href^='#']"))
    if (!document.querySelector(link.getAttribute("href"))) faults.add("no place " + link.getAttribute("href"));
  for (const picture of document.querySelectorAll("svg"))
    if (!picture.closest("[role=img][aria-label], [aria-hidden=true]")) faults.add("a picture without words");
  for (const head of document.querySelectorAll("th"))
    if (!head.scope) faults.add("a head cell without scope: " + head.textContent);
  for (const region of document.querySelectorAll(".scroll"))
    if (region.tabIndex !== 0) faults.add("a region that no key reaches");
  if (document.documentElement.scrollWidth > innerWidth) faults.add("wider than the window of " + innerWidth);
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || element.closest("script, style")) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    const pair = [light(channels(colour)), light(behind(element))].sort((a, b) => b - a);
    if ((pair[0] + 0.05) / (pair[1] + 0.05) < 4.5)
      faults.add("faint text in " + element.tagName + " ." + element.className);
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const title = "looked in the " + dark + " at " + innerWidth + ": " + ([...faults].join("; ") || "no fault");
  document.title = title;
  parent.postMessage(title, "*");
});
</script></body>"#;

/// Narrower than a window of the browser can be.
const NARROW: &str = r#"<title></title><script>addEventListener("message", (e) => (document.title = e.data));</script>
<iframe src="look.html" style="width: 400px; height: 900px; border: 0"></iframe>"#;

fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success()))
}

/// A real browser opens every detail, follows every link, measures contrast (WCAG AA) and width, and prints to A4.
#[test]
fn a_browser_finds_no_fault_in_the_page() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium is installed");
        return;
    };
    let world = World::new();
    let page = std::fs::read_to_string(example("report.html")).unwrap();
    world.write("page.html", &page).write("look.html", page.replace("</body>", LOOK)).write("narrow.html", NARROW);
    let run = |arguments: &[&str], page: &str| {
        let output = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .arg(format!("--user-data-dir={}", world.path("profile").display()))
            .args(arguments)
            .arg(format!("file://{}", world.path(page).display()))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (scheme, arguments) in [("light", &[][..]), ("dark", &["--force-dark-mode"][..])] {
        for (page, width) in [("look.html", "1280"), ("narrow.html", "400")] {
            let looking = ["--dump-dom", "--virtual-time-budget=10000", "--window-size=1280,900"];
            let dom = run(&[&looking, arguments].concat(), page);
            let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).unwrap_or_default();
            assert!(title.starts_with(&format!("looked in the {scheme} at {width}")), "{title}");
            assert!(title.ends_with(": no fault"), "{title}");
        }
    }
    let printed = world.path("page.pdf");
    run(&["--no-pdf-header-footer", &format!("--print-to-pdf={}", printed.display())], "page.html");
    let pdf = String::from_utf8_lossy(&std::fs::read(&printed).unwrap()).into_owned();
    let pages = pdf.matches("/Type /Page\n").count();
    assert!((5..40).contains(&pages), "{pages} pages");
    assert_eq!(pdf.matches("/MediaBox [0 0 594").count() + pdf.matches("/MediaBox [0 0 595").count(), pages, "A4");
}
