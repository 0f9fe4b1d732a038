//! A budget's events, gathered by share.

use serde::Serialize;

use super::facts::BudgetLine;

/// The events of one share of the budget.
#[derive(Serialize)]
pub struct Share<'a> {
    pub name: &'a str,
    /// Number of events.
    pub count: usize,
    /// Events that differ in nothing but their name are one group.
    pub groups: Vec<Group<'a>>,
    /// Least noise multiplier.
    pub least_noise: f64,
    /// Largest noise multiplier.
    pub most_noise: f64,
}

/// Events that differ in nothing but their name.
#[derive(Serialize)]
pub struct Group<'a> {
    pub names: Vec<&'a str>,
    /// What they have in common.
    pub line: &'a BudgetLine,
}

impl Group<'_> {
    fn takes(&self, line: &BudgetLine) -> bool {
        let key = |l: &BudgetLine| (l.noise_multiplier, l.sampling_rate, l.steps);
        self.line.mechanism == line.mechanism && key(self.line) == key(line)
    }
}

/// The shares of a budget, in the order in which they first appear.
pub fn by_share(budget: &[BudgetLine]) -> Vec<Share<'_>> {
    let mut shares: Vec<Share> = Vec::new();
    for line in budget {
        let (name, noise) = (line.share.as_str(), line.noise_multiplier);
        let at = shares.iter().position(|share| share.name == name).unwrap_or_else(|| {
            shares.push(Share { name, count: 0, groups: Vec::new(), least_noise: noise, most_noise: noise });
            shares.len() - 1
        });
        let share = &mut shares[at];
        share.count += 1;
        share.least_noise = share.least_noise.min(noise);
        share.most_noise = share.most_noise.max(noise);
        match share.groups.iter_mut().find(|group| group.takes(line)) {
            Some(group) => group.names.push(&line.name),
            None => share.groups.push(Group { names: vec![&line.name], line }),
        }
    }
    shares
}
