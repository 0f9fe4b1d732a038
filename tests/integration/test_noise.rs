//! Noise that a test seeds: the same bytes at any number of threads, and a stamp on everything. Tests are built with the
//! feature `test-noise`; `tidy` sees to it that nothing else is.

use crate::world::World;

const SCHEMA: &str = r#"
[table]
name = "visits"
privacy_unit = "row"
units = 200

[[column]]
name = "sex"
kind = "categorical"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = false
domain_from = "public"
"#;

fn table() -> String {
    let row = |i: u32| format!("{},{}\n", ["F", "M"][i as usize % 2], i * 37 % 90);
    std::iter::once("sex,age\n".to_owned()).chain((0..200).map(row)).collect()
}

fn fit(world: &World, seed: &str, threads: u32, file: &str) -> Vec<u8> {
    let command = format!(
        "fit visits.csv --schema schema.toml --model vae --epsilon 1 --delta 1e-5 --ledger {file}.ledger --threads {threads} -o {file}"
    );
    world.run_with("SYNTHWARD_TEST_NOISE", seed, &command).succeeds();
    world.read(file)
}

/// Of many cells, too, whose noise two threads draw in 14 parts. Keys that are numbered as threads come by them came to the parts
/// in the order of one thread in 3 fits of 21: six in a row are less than one of 10,000.
#[test]
fn many_cells_have_the_same_noise() {
    let world = World::new().of_few_steps();
    let column = |i| {
        format!(
            "[[column]]\nname = \"c{i}\"\nkind = \"integer\"\nmin = 0\nmax = 63\nnullable = false\ndomain_from = \"public\"\n"
        )
    };
    let columns: Vec<String> = (0..11).map(column).collect();
    let head = "[table]\nname = \"visits\"\nprivacy_unit = \"row\"\nunits = 200\n";
    let row = |i: usize| (0..11).map(|j| (i * (j + 3) % 64).to_string()).collect::<Vec<_>>().join(",") + "\n";
    let names = (0..11).map(|j| format!("c{j}")).collect::<Vec<_>>().join(",") + "\n";
    world.write("visits.csv", std::iter::once(names).chain((0..200).map(row)).collect::<String>());
    world.write("schema.toml", head.to_owned() + &columns.concat());
    let fit = |threads: u32, file: &str| {
        let command = format!(
            "fit visits.csv --schema schema.toml --epsilon 1 --delta 1e-5 --ledger {file}.ledger --threads {threads} -o {file}"
        );
        world.run_with("SYNTHWARD_TEST_NOISE", "7", &command).succeeds();
        world.read(file)
    };
    let one = fit(1, "one");
    for file in ["a", "b", "c", "d", "e", "f"] {
        assert!(one == fit(2, file), "{file}");
    }
}

/// A table of which nothing may stay in memory gives the same model as one in memory.
#[test]
fn a_table_on_disk_gives_the_same_model() {
    let world = World::new().of_few_steps();
    world.write("visits.csv", table()).write("schema.toml", SCHEMA);
    for model in ["independent", "vae", "diffusion"] {
        let fit = |name: &str, limit: &str| {
            let file = format!("{model}-{name}");
            let command = format!(
                "fit visits.csv --schema schema.toml --model {model} --epsilon 1 --delta 1e-5 --ledger {file}.ledger -o {file} {limit}"
            );
            world.run_with("SYNTHWARD_TEST_NOISE", "7", &command).succeeds();
            world.read(&file)
        };
        let same = fit("here", "") == fit("there", "--memory-limit 256MB");
        assert!(same, "{model}: the same rows and noise give the same bytes");
        world.run(&format!("generate {model}-there --rows 50 -o {model}.csv")).succeeds();
    }
}

#[test]
fn only_a_build_for_tests_can_seed_the_noise_and_it_says_so() {
    let world = World::new().of_few_steps();
    world.write("visits.csv", table()).write("schema.toml", SCHEMA);
    let one = fit(&world, "7", 1, "one.safetensors");
    let two = fit(&world, "7", 2, "two.safetensors");
    let other = fit(&world, "8", 2, "other.safetensors");
    assert_eq!(one, two, "the same seed gives the same bytes");
    assert_ne!(one, other);
    let is_private =
        |model: &[u8], answer: bool| String::from_utf8_lossy(model).contains(&format!(r#"\"private\":{answer}"#));
    assert!(is_private(&one, false), "a seeded model says that it is not private");
    world
        .run("fit visits.csv --schema schema.toml --model vae --epsilon 1 --delta 1e-5 --ledger l -o unseeded")
        .succeeds();
    assert!(is_private(&world.read("unseeded"), true), "where nobody gives a seed, the noise is the system's");
}
