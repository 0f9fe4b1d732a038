//! Code columns with a supplied table of parents.

use crate::world::World;
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::LazyLock;

const CHAPTERS: usize = 12;
/// Codes of a chapter, in five blocks.
const CODES: usize = 50;

fn code(chapter: usize, number: usize) -> String {
    // Nothing in a code tells its chapter.
    format!("{}", 100_000 + (number * CHAPTERS + chapter) * 7919 % 800_000)
}

fn codes() -> impl Iterator<Item = (usize, usize, String)> {
    (0..CHAPTERS).flat_map(|chapter| (0..CODES).map(move |number| (chapter, number, code(chapter, number))))
}

fn parents() -> String {
    let mut text = String::from("code,parent\n");
    for (chapter, number, code) in codes() {
        let _ = writeln!(text, "{code},block {chapter}.{}", number % 5);
    }
    for (chapter, block) in (0..CHAPTERS).flat_map(|chapter| (0..5).map(move |block| (chapter, block))) {
        let _ = writeln!(text, "block {chapter}.{block},chapter {chapter}");
    }
    text
}

/// The columns of a visit, under this head of a table.
fn columns(head: &str) -> String {
    let listed: Vec<String> = codes().map(|(_, _, code)| format!("\"{code}\"")).collect();
    format!(
        "{head}\nname = \"sex\"\nkind = \"categorical\"\ncategories = [\"F\", \"M\"]\nnullable = false\n\
         domain_from = \"public\"\n{head}\nname = \"finding\"\nkind = \"code\"\ntype = \"utf8\"\nparents = \"parents.csv\"\n\
         categories = [{}]\nnullable = false\ndomain_from = \"public\"\n",
        listed.join(", ")
    )
}

/// The sex and the code of the visit of this number: women have the first half of the chapters.
fn visit(number: usize) -> (&'static str, String) {
    let sex = ["F", "M"][number % 2];
    let chapter = number / 2 % (CHAPTERS / 2) + number % 2 * CHAPTERS / 2;
    (sex, code(chapter, number * 31 % CODES))
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let world = World::shared("codes");
    let (mut flat, mut persons, mut visits) = (String::from("sex,finding\n"), String::from("id\n"), String::new());
    visits.push_str("id,sex,finding\n");
    for number in 0..3000 {
        let (sex, code) = visit(number);
        let _ = writeln!(flat, "{sex},{code}");
        let _ = writeln!(persons, "real-{number}");
        let _ = writeln!(visits, "real-{number},{sex},{code}");
    }
    std::fs::create_dir(world.path("folder")).unwrap();
    std::fs::create_dir(world.path("public")).unwrap();
    world.write("visits.csv", flat).write("folder/persons.csv", persons).write("folder/visits.csv", visits);
    world.write("public/parents.csv", parents());
    let key = "name = \"id\"\nkind = \"identifier\"\ntype = \"utf8\"\n";
    world.write(
        "public/flat.toml",
        format!("[table]\nname = \"visits\"\nprivacy_unit = \"row\"\n{}", columns("[[column]]")),
    );
    world.write(
        "public/folder.toml",
        format!(
            "[linked]\nname = \"folder\"\n[[table]]\nname = \"persons\"\nkey = \"id\"\n[[table.column]]\n{key}\
             [[table]]\nname = \"visits\"\nparent = \"persons\"\nlinks = {{ id = \"persons\" }}\nmax_rows = 4\n\
             [[table.column]]\n{key}{}",
            columns("[[table.column]]")
        ),
    );
    world
});

/// Every code of a cohort is declared, and most women have codes of their half of the chapters. Returns the rows.
fn keeps_to_the_tree(cohort: &str) -> usize {
    let text = WORLD.text(cohort);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let place =
        |reader: &mut csv::Reader<&[u8]>, name: &str| reader.headers().unwrap().iter().position(|own| own == name);
    let (sex, finding) = (place(&mut reader, "sex").unwrap(), place(&mut reader, "finding").unwrap());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let declared: HashSet<String> = codes().map(|(_, _, code)| code).collect();
    let of_women: HashSet<String> =
        codes().filter(|(chapter, ..)| *chapter < CHAPTERS / 2).map(|(_, _, code)| code).collect();
    assert!(rows.iter().all(|row| declared.contains(&row[finding])), "{cohort}");
    let fitting = rows.iter().filter(|row| (&row[sex] == "F") == of_women.contains(&row[finding])).count();
    // Without the tree the two have nothing to do with each other beyond the codes that stand out of the noise.
    assert!(fitting as f64 > 0.8 * rows.len() as f64, "{cohort}: {fitting} of {}", rows.len());
    rows.len()
}

/// Of 3,000 persons each sex has 1,500 in its half of sixty groups, about fifty each; at epsilon 8 the noise of a pair's cell is
/// less than ten persons. Four in five rows would fall in the right half even if each group lost a third of its own, which
/// takes several standard deviations in most of them at once: false alarms are less than one in a million.
#[test]
fn codes_follow_their_groups_and_none_is_invented() {
    for (table, schema) in [("visits.csv", "flat"), ("folder", "folder")] {
        let fit = format!("fit {table} --schema public/{schema}.toml --ledger {schema}.jsonl --epsilon 8 --delta 1e-5");
        WORLD.run_with("SYNTHWARD_TEST_MIXTURE_STEPS", "64", &format!("{fit} -o {schema}.safetensors")).succeeds();
    }
    // A model has all of the tree that it needs.
    std::fs::remove_dir_all(WORLD.path("public")).unwrap();
    WORLD.run("generate flat.safetensors --rows 3000 -o flat-out.csv").succeeds();
    WORLD.run("generate folder.safetensors --rows 3000 --format csv -o folder-out").succeeds();
    assert_eq!(keeps_to_the_tree("flat-out.csv"), 3000);
    assert!(keeps_to_the_tree("folder-out/visits.csv") > 2000);
}

#[test]
fn parents_that_make_no_tree_are_refused_by_line() {
    let world = World::new();
    let schema = format!("[table]\nname = \"visits\"\nprivacy_unit = \"row\"\n{}", columns("[[column]]"));
    world.write("schema.toml", schema).write("visits.csv", WORLD.read("visits.csv"));
    let fit = "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 -o m.safetensors";
    world.refuses(3, fit, &["parents.csv", "there is no such file"]);
    let first = code(0, 0);
    for (file, what) in [
        (format!("code,parent\n{first},a\n{first},b\n"), "line 3: the code has another parent in line 2"),
        (format!("code,parent\n{first},a\na,{first}\n"), "line 2: the code stands above itself"),
        (format!("child,parent\n{first},a\n"), "line 1: a column of the parents is not there"),
        ("code,parent\n1,2\n".to_owned(), "none of the column's categories is in the file"),
    ] {
        world.write("parents.csv", file);
        world.refuses(3, fit, &["parents.csv", "`finding`", what]);
    }
}
