//! `selftest`: the noise, the clip, the accountant and the audit of this build on this machine.

use crate::world::World;
use std::time::{Duration, Instant};

#[test]
fn this_build_passes_and_says_so() {
    let world = World::new();
    let started = Instant::now();
    let printed = world.run("selftest").succeeds().stdout;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let found = world.run("selftest --json --threads 1").succeeds().json();
    let checks = found["checks"].as_array().unwrap();
    for part in ["keys", "noise of DP-SGD", "noise of counts", "coins", "clipped", "accountant", "audit finds planted"]
    {
        assert!(printed.contains(part), "{part} is not printed: {printed}");
        assert!(checks.iter().any(|check| check["name"].as_str().unwrap().contains(part)), "{part}: {found}");
    }
    assert!(checks.iter().all(|check| check["passed"] == true), "{found}");
    assert!(printed.contains(&format!("{0} of {0} passed", checks.len())), "{printed}");
    assert_eq!(found["false_alarm"], 1e-6);
    assert!(world.files().is_empty(), "it writes nothing");
}
