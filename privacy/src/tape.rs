//! What each mechanism held before its noise, for the test of neighbouring tables.
//!
//! A first fit is recorded. A second one, of a table with one unit more, is told what the first one released: each
//! mechanism measures how far its own exact value lies from the recorded one, in parts of the sensitivity that its noise
//! pays for, and goes on with the recorded one. So whatever differs at the end got past the mechanisms. Noise has to be
//! seeded, or the two would draw different noise.

use crate::Error;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// What one release held before its noise.
///
/// # Privacy
/// Sensitive: exact values. Only a test makes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    mechanism: String,
    /// Integers on the mechanism's grid.
    #[serde(skip)]
    counts: Vec<i64>,
    /// Weights of candidates, by their texts ...
    weights: BTreeMap<String, i64>,
    /// ... and what was chosen of them, as JSON.
    chosen: String,
}

/// How far a release of the second fit lay from that of the first, before noise.
///
/// # Privacy
/// Sensitive: computed from exact values. Only a test makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The kind of mechanism.
    pub mechanism: String,
    /// The distance in parts of the sensitivity that was paid for; above 1 the claim is broken.
    pub distance: f64,
}

enum Tape {
    Recording(Vec<Held>),
    Replaying(VecDeque<Held>, Vec<Moved>),
}

static TAPE: Mutex<Option<Tape>> = Mutex::new(None);

fn tape() -> MutexGuard<'static, Option<Tape>> {
    TAPE.lock().unwrap_or_else(|e| e.into_inner())
}

/// Records all releases of this process from here on.
///
/// # Privacy
/// For tests: what is recorded is not private.
pub fn record() {
    *tape() = Some(Tape::Recording(Vec::new()));
}

/// What was recorded, as bytes.
///
/// # Privacy
/// For tests: exact values.
pub fn recorded() -> Vec<u8> {
    let Some(Tape::Recording(held)) = tape().take() else { return Vec::new() };
    let mut bytes = Vec::new();
    for one in held {
        let text = serde_json::to_string(&one).unwrap_or_default();
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend((one.counts.len() as u64).to_le_bytes());
        bytes.extend(one.counts.iter().flat_map(|count| count.to_le_bytes()));
    }
    bytes
}

/// Replays what another process recorded.
///
/// # Panics
/// When `bytes` are not those of a recording.
///
/// # Privacy
/// For tests: what is made is not private.
pub fn replay(mut bytes: &[u8]) {
    let mut take = |length: usize| {
        let (taken, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        Some(taken)
    };
    let number = |bytes: &[u8]| i64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let mut held = VecDeque::new();
    while let Some(length) = take(8) {
        let text = take(number(length) as usize).expect("a recording");
        let mut one: Held = serde_json::from_slice(text).expect("a recording");
        let length = number(take(8).expect("a recording")) as usize;
        one.counts = take(8 * length).expect("a recording").chunks_exact(8).map(number).collect();
        held.push_back(one);
    }
    *tape() = Some(Tape::Replaying(held, Vec::new()));
}

/// How far each release moved; one that was recorded and did not come again moved beyond all bounds.
///
/// # Privacy
/// For tests: computed from exact values.
pub fn replayed() -> Vec<Moved> {
    let Some(Tape::Replaying(left, mut moved)) = tape().take() else { return Vec::new() };
    moved.extend(left.into_iter().map(|held| Moved { mechanism: held.mechanism, distance: f64::INFINITY }));
    moved
}

/// Whether a test listens.
///
/// # Privacy
/// Public.
pub(crate) fn is_on() -> bool {
    tape().is_some()
}

/// A release of integers, whose sensitivity is an L2 norm.
pub(crate) fn play(mechanism: &str, counts: Vec<i64>, sensitivity: f64) -> Vec<i64> {
    match &mut *tape() {
        None => counts,
        Some(Tape::Recording(held)) => {
            held.push(Held { mechanism: mechanism.into(), counts: counts.clone(), ..Held::default() });
            counts
        }
        Some(Tape::Replaying(left, moved)) => {
            let recorded = left.pop_front().unwrap_or_default();
            let alike = recorded.mechanism == mechanism && recorded.counts.len() == counts.len();
            let distance = if alike {
                let squares = counts.iter().zip(&recorded.counts).map(|(a, b)| (a - b) as f64 * (a - b) as f64);
                squares.sum::<f64>().sqrt() / sensitivity
            } else {
                f64::INFINITY
            };
            moved.push(Moved { mechanism: mechanism.into(), distance });
            if alike { recorded.counts } else { counts }
        }
    }
}

/// How often each value is there.
pub(crate) fn weights(values: &[f64]) -> BTreeMap<String, i64> {
    values.iter().fold(BTreeMap::new(), |mut weights, value| {
        *weights.entry(value.to_string()).or_insert(0) += 1;
        weights
    })
}

/// A choice among candidates, whose weights have an L1 sensitivity.
pub(crate) fn play_choice<T: Serialize + DeserializeOwned>(
    mechanism: &str,
    weights: BTreeMap<String, i64>,
    sensitivity: i64,
    choose: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if let Some(Tape::Replaying(left, moved)) = &mut *tape() {
        let recorded = left.pop_front().unwrap_or_default();
        let own = weights.keys().chain(recorded.weights.keys()).collect::<std::collections::BTreeSet<_>>();
        let weight = |of: &BTreeMap<String, i64>, key: &str| of.get(key).copied().unwrap_or(0);
        let distance: i64 = own.iter().map(|key| (weight(&weights, key) - weight(&recorded.weights, key)).abs()).sum();
        let chosen = (recorded.mechanism == mechanism).then(|| serde_json::from_str(&recorded.chosen).ok()).flatten();
        let distance = if chosen.is_some() { distance as f64 / sensitivity as f64 } else { f64::INFINITY };
        moved.push(Moved { mechanism: mechanism.into(), distance });
        if let Some(chosen) = chosen {
            return Ok(chosen);
        }
    }
    let chosen = choose()?;
    if let Some(Tape::Recording(held)) = &mut *tape() {
        let text = serde_json::to_string(&chosen).map_err(|_| Error::Sampler)?;
        held.push(Held { mechanism: mechanism.into(), weights, chosen: text, ..Held::default() });
    }
    Ok(chosen)
}
