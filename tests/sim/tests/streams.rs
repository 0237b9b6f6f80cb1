//! Whole servers in bulk: streams, catalog, routing, several cores.

use tests_sim::story::Tally;
use tests_sim::streams::{self, Menu};

/// Seeds of the gate; `WEIR_SIM_SEEDS` and `WEIR_SIM_FROM` ask for others.
fn seeds() -> std::ops::Range<u64> {
    let read = |name: &str, default: u64| {
        let asked = std::env::var(name).ok();
        asked.map_or(default, |v| v.parse().expect("a number of seeds"))
    };
    let from = read("WEIR_SIM_FROM", 0);
    from..from + read("WEIR_SIM_SEEDS", 2_000)
}

#[test]
fn streams_keep_what_they_promise() {
    let mut total = Tally::default();
    for seed in seeds() {
        let told = streams::run(seed);
        total.add(told.unwrap_or_else(|what| {
            panic!("{what}\nreplay: tests-sim --story streams --from {seed} --seeds 1")
        }));
    }
    println!("{} seeds: {total:?}", seeds().count());
    assert!(total.acknowledged > 0 && total.compared > 0);
}

/// The wall clock was set back an hour, and records of shards that were new then were stamped with
/// an hour that had already expired: they were gone at once. The seeds beyond a million: stamps behind
/// the expiry clock of another core or of the life before, shards that went on in unlike epochs, stamps
/// behind what a longer retention keeps expired.
#[test]
fn seeds_that_found_bugs_stay_green() {
    for seed in [
        4, 12, 20, 32, 43, 97, 124, 1_002_147, 1_005_622, 1_020_344, 1_022_929, 1_026_549,
        1_041_525, 1_058_286, 2_013_669, 2_021_837, 2_030_836, 2_096_727,
    ] {
        streams::tell(seed, Menu::First).unwrap_or_else(|what| panic!("{what}"));
    }
}

/// As above, with the whole menu: changes that seemed to fail, were found in the catalog once it could be
/// opened again, and that nobody saw through.
#[test]
fn later_seeds_that_found_bugs_stay_green() {
    for seed in [7_000_013, 7_000_108, 7_000_291] {
        streams::run(seed).unwrap_or_else(|what| panic!("{what}"));
    }
}

/// The flush of the catalog lies below the engine: so this bug is planted there.
#[test]
fn forgetting_to_flush_the_catalog_is_caught() {
    let caught = (0..500).find_map(|seed| {
        let told = std::panic::catch_unwind(|| streams::tell(seed, Menu::ForgottenCatalogSync));
        let panicked = |_| Err(format!("seed {seed}: an assertion of the engine"));
        told.unwrap_or_else(panicked).err()
    });
    println!("{}", caught.expect("not caught in 500 seeds"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..25 {
        assert_eq!(streams::run(seed), streams::run(seed), "seed {seed}");
    }
}
