//! What names of columns say of keys.

use super::LinkedSchema;

/// Words that names of keys end in.
pub const KEY_WORDS: [&str; 12] =
    ["id", "ids", "nbr", "nr", "no", "num", "number", "key", "uuid", "guid", "identifier", "code"];

/// Names of keys that name no table.
pub const BARE_KEYS: [&str; 8] = ["id", "uid", "uuid", "guid", "key", "identifier", "rowid", "pk"];

/// Tables of persons, the likeliest first.
pub const PERSONS: [&str; 8] =
    ["patient", "person", "people", "subject", "participant", "member", "individual", "beneficiary"];

/// A word for one thing.
pub fn singular(word: &str) -> String {
    match word.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => word.strip_suffix('s').filter(|stem| !stem.ends_with('s')).unwrap_or(word).to_owned(),
    }
}

/// The letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl LinkedSchema {
    /// The table of persons whose rows a column is named to name: it has the name of a column that holds keys of it, or of
    /// what the persons are. Capitals and punctuation do not matter, and `id` alone names no table.
    pub fn named_like_key(&self, column: &str) -> Option<&str> {
        let name = plain(column);
        if BARE_KEYS.contains(&name.as_str()) {
            return None;
        }
        let tree = self.tree();
        let root = self.tables[*tree.first()?].name.as_str();
        let person = singular(&plain(root));
        let is_person = |stem: &str| PERSONS.contains(&stem) || stem == person;
        let ends = std::iter::once("").chain(KEY_WORDS).filter(|end| *end != "code");
        if ends.filter_map(|end| name.strip_suffix(end)).any(|stem| is_person(stem) || is_person(&singular(stem))) {
            return Some(root);
        }
        let tables = || tree.iter().map(|&place| &self.tables[place]);
        let key = tables().find(|table| table.key.as_ref().is_some_and(|key| plain(key) == name));
        let links = tables().flat_map(|table| &table.links).filter(|(_, to)| tables().any(|table| table.name == **to));
        let link = || links.into_iter().find(|(link, _)| plain(link) == name).map(|(_, to)| to.as_str());
        key.map(|table| table.name.as_str()).or_else(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_known_whatever_their_capitals() {
        let schema = LinkedSchema::from_toml(
            "[linked]\nname = \"h\"\n[[table]]\nname = \"cases\"\nkey = \"Id\"\n[[table.column]]\nname = \"Id\"\n\
             kind = \"identifier\"\n[[table]]\nname = \"stays\"\nkey = \"hadm_id\"\nparent = \"cases\"\n\
             links = { whose = \"cases\", ward = \"wards\" }\n[[table.column]]\nname = \"hadm_id\"\nkind = \"identifier\"\n\
             [[table.column]]\nname = \"whose\"\nkind = \"identifier\"\n[[table.column]]\nname = \"ward\"\n\
             kind = \"identifier\"\n[[table]]\nname = \"wards\"\nreference = true\n",
        )
        .unwrap();
        let tables = [
            ("HADM_ID", Some("stays")),
            ("Whose", Some("cases")),
            ("case_id", Some("cases")),
            ("CASES", Some("cases")),
            ("PatientID", Some("cases")),
            ("member_no", Some("cases")),
            ("ward", None),
            ("Id", None),
            ("name", None),
            ("outpatient", None),
        ];
        for (column, table) in tables {
            assert_eq!(schema.named_like_key(column), table, "{column}");
        }
    }
}
