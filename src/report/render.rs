//! From a report to its page.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::facts::Report;
use super::page::Page;
use super::release::{Release, ReleasePage};
use super::words;
use crate::error::{Error, Result};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../reports/templates/", $name)))),*]
    };
}

/// The page, its style, and one file for each section.
const TEMPLATES: [(&str, &str); 17] = templates![
    "report.html",
    "release.html",
    "style.css",
    "macros.html",
    "not_private.html",
    "assumed_public.html",
    "decision.html",
    "privacy.html",
    "budget.html",
    "public.html",
    "utility.html",
    "audit.html",
    "residual.html",
    "checklist.html",
    "rules.html",
    "reproduce.html",
    "signatures.html",
];

/// The report as one HTML page that loads nothing and runs nothing. `twin` is the SHA-256 of its JSON.
///
/// # Errors
/// Exit code 1 when a picture cannot be drawn or the page cannot be made.
///
/// # Privacy
/// Prints what is in the report: see [`Report`].
pub fn render(report: &Report, twin: Option<&str>) -> Result<String> {
    page("report.html", Serde(Page::of(report, twin)?).into())
}

/// The report for recipients as one HTML page, likewise.
///
/// # Errors
/// Exit code 1 when the page cannot be made.
///
/// # Privacy
/// Post-processing: see [`Release`].
pub fn render_release(release: &Release, twin: Option<&str>) -> Result<String> {
    page("release.html", Serde(ReleasePage::of(release, twin)).into())
}

fn page(template: &str, context: Value) -> Result<String> {
    let make = || {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("figure", words::figure);
        environment.add_filter("bound", words::bound);
        environment.add_filter("decimals", words::decimals);
        environment.add_filter("percent", words::percent);
        environment.add_filter("count", words::count);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        environment.get_template(template)?.render(context)
    };
    make().map_err(|e| Error::failed(format!("the report page could not be made ({e:#})")))
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::{render, render_release};
    use crate::audit::{
        AttackFigures, Audit, Controls, CopyFigures, Proxies, Risk, RiskKind, Roc, Sizes, TprAtFpr, Verdict,
    };
    use crate::config::ReportConfig;
    use crate::evaluate::{
        Area, Association, ColumnFigures, Copies, DetectionColumn, Evaluation, Figure, Influence, MissingRate,
        Missingness, ModelKind, NumberFigures, OfTables, OnePerson, Queries, RareCategories, RareShare, Rows, Scores,
        Tstr, Tvd, Validity, Violations,
    };
    use crate::schema::target::Task;
    use crate::selftest::{Check, SelfTest};
    use synthward_privacy::infinite::OrInfinity;

    const SECTIONS: [&str; 11] = [
        "decision",
        "privacy",
        "budget",
        "public",
        "utility",
        "audit",
        "residual",
        "checklist",
        "rules",
        "reproduce",
        "signatures",
    ];

    fn nothing() -> Report {
        Report {
            note: "For the controller.".into(),
            title: "Report".into(),
            table: "toy".into(),
            date: "2026-11-23".into(),
            tool_version: "0.1.0".into(),
            model: "vae".into(),
            settings: vec![],
            stated: ReportConfig::default(),
            seed: None,
            not_private: None,
            claim: None,
            budget: vec![],
            ledger: vec![],
            columns: vec![],
            files: vec![],
            evaluation: None,
            audit: None,
            all_tables: None,
            marginals: vec![],
            selftest: None,
            reproduce: None,
        }
    }

    fn claim(epsilon: f64) -> Claim {
        Claim {
            epsilon,
            delta: 1e-6,
            unit: "all rows that share one value of `patient_nbr`".into(),
            adjacency: "one unit with all its rows is added or removed".into(),
            accountant: "RDP".into(),
            units: Some(Units::Noisy(11_987.3)),
            rows_used: "at most 4; further ones were dropped at random".into(),
            assumed_public: false,
        }
    }

    fn evaluation(column: &str) -> Evaluation {
        let figure = |synthetic, floor| Figure { synthetic, floor };
        let thirds = OfTables { real: 0.3, holdout: 0.32, synthetic: 0.4 };
        let area = |synthetic, floor| Area {
            synthetic,
            floor,
            synthetic_interval: (synthetic - 0.01, synthetic + 0.01),
            floor_interval: (floor - 0.01, floor + 0.01),
        };
        let auc = |roc_auc| Scores { roc_auc: Some(roc_auc), ..Scores::default() };
        Evaluation {
            note: String::new(),
            seed: 0,
            rows: Rows { real: 9_000, holdout: 3_000, synthetic: 12_000, synthetic_judged: 9_000 },
            influence: Influence { note: column.into(), most_rows_real: 10, most_rows_holdout: 10, share: 0.0034 },
            tvd: Tvd { one_way: figure(0.031, 0.007), two_way: Some(figure(0.084, 0.022)), three_way: None },
            tstr: vec![Tstr {
                target: column.into(),
                column: column.into(),
                task: Task::Binary,
                model: ModelKind::GradientBoosting,
                rows: Some(3_000),
                one_person: OnePerson {
                    share: 0.001,
                    roc_auc: Some(0.02),
                    macro_f1: Some(0.03),
                    average_precision: Some(0.04),
                    r2: None,
                    rmse: None,
                    mae: None,
                },
                tstr: auc(0.613),
                trtr: auc(0.652),
                majority: auc(0.5),
                remark: Some("few positives".into()),
            }],
            queries: Queries { three_way: figure(0.012, 0.006), prefixes: figure(0.026, 0.009) },
            association: Association {
                mean_difference: Some(figure(0.05, 0.01)),
                columns: vec![column.into()],
                holdout: vec![vec![1.0]],
                synthetic: vec![vec![1.0]],
            },
            copies: Copies { synthetic: 0.0, holdout: 0.001 },
            calibration: vec![],
            fairness: vec![],
            survival: vec![],
            regressions: vec![],
            detection_auc: Some(area(0.812, 0.503)),
            detection_auc_binned: None,
            detection_columns: vec![DetectionColumn { column: column.into(), gain_share: 0.4 }],
            missingness: Missingness {
                mean_difference: figure(0.01, 0.001),
                largest_difference: figure(0.05, 0.004),
                correlation_difference: None,
            },
            validity: Validity { synthetic: Violations::default(), floor: Violations::default() },
            constraints: vec![],
            rare_categories: RareCategories { kept: Some(20), lost: None, lost_in_holdout: None },
            columns: vec![ColumnFigures {
                name: column.into(),
                tvd: figure(0.02, 0.004),
                missing_rate: MissingRate { real: 0.1, holdout: 0.1, synthetic: 0.1 },
                distinct_real: None,
                distinct_holdout: None,
                distinct_synthetic: 3,
                rare_share: RareShare { real: 0.0, holdout: 0.0, synthetic: 0.0 },
                rare_categories: None,
                entropy_ratio: None,
                tvd_without_constraints: Some(0.02),
                numbers: Some(NumberFigures { mean: thirds, deviation: thirds, zeros: thirds, one_person: 0.1 }),
            }],
        }
    }

    fn marginal(column: &str, range: Option<[String; 2]>) -> MarginalPlot {
        MarginalPlot {
            column: column.into(),
            range,
            labels: vec!["one".into(), column.into(), "missing".into()],
            real: vec![Some(0.7), None, Some(0.3)],
            synthetic: vec![0.6, 0.1, 0.3],
            has_missing: true,
        }
    }

    /// Everything there is, every text being `text`.
    fn everything(text: &str) -> Report {
        let text = || text.to_owned();
        Report {
            note: text(),
            title: text(),
            table: text(),
            date: text(),
            tool_version: text(),
            model: text(),
            settings: vec![Setting { name: text(), value: text() }],
            stated: ReportConfig {
                purpose: Some(text()),
                conditions: Some(text()),
                split: Some(text()),
                ..ReportConfig::default()
            },
            seed: Some(7),
            not_private: Some(text()),
            claim: Some(Claim { unit: text(), adjacency: text(), accountant: text(), ..claim(1.0) }),
            budget: vec![BudgetLine {
                share: text(),
                name: text(),
                mechanism: text(),
                noise_multiplier: 1.25,
                sampling_rate: Some(0.01),
                steps: Some(1_000),
            }],
            ledger: vec![LedgerLine {
                time: text(),
                who: text(),
                kind: text(),
                epsilon: Some(OrInfinity(1.0)),
                delta: Some(1e-6),
            }],
            columns: vec![ColumnFact { name: text(), kind: text(), domain: text(), vouched_by: text() }],
            files: vec![FileFact { role: text(), name: text(), sha256: text(), rows: Some(12_000) }],
            evaluation: Some(evaluation(&text())),
            audit: Some(audit(&text())),
            all_tables: Some(AllTables {
                verdict: Verdict::LeakFound,
                tables: [(text(), Verdict::LeakFound)].into(),
                left_out: vec![text()],
            }),
            marginals: vec![marginal(&text(), None), marginal(&text(), Some([text(), text()]))],
            selftest: Some(selftest(&text(), true)),
            reproduce: Some(Reproduce { commands: vec![text()], run_toml: Some(text()) }),
        }
    }

    fn selftest(text: &str, passed: bool) -> SelfTest {
        let check = Check { name: text.into(), figure: text.into(), found: 0.01, least: 1e-7, most: 1.0, passed };
        SelfTest { false_alarm: 1e-6, checks: vec![check] }
    }

    fn audit(text: &str) -> Audit {
        let text = || text.to_owned();
        let at = |fpr: f64| TprAtFpr { fpr, tpr: fpr, interval: (fpr / 2.0, 1.0) };
        Audit {
            note: text(),
            verdict: Verdict::LeakFound,
            reasons: vec![text()],
            seed: 0,
            sizes: Sizes {
                members: 3000,
                holdout: 1500,
                member_rows: 3000,
                holdout_rows: 1500,
                synthetic_rows: 3000,
                columns: 45,
            },
            sample: None,
            family_wise_level: 0.01,
            minimum_detectable_leak: Some(0.63),
            epsilon_lower_bound: 0.2,
            epsilon_ceiling: 6.9,
            epsilon_basis: text(),
            attacks: vec![AttackFigures {
                name: text(),
                stratum: text(),
                units: 80,
                members: 50,
                auc: 0.51,
                auc_ci: (0.4, 0.6),
                p_area: Some(0.5),
                highest: None,
                tpr_at_fpr: [0.001, 0.01, 0.1].map(at).into(),
                p: 0.5,
                share: 0.01,
                p_holm: 1.0,
                leak: false,
            }],
            roc: vec![Roc { attack: text(), points: [0.001, 0.01, 0.1, 1.0].map(at).into() }],
            risks: vec![Risk {
                risk: RiskKind::Inference,
                what: text(),
                attacked: 1500,
                members: 0.3,
                control: 0.3,
                excess: 0.0,
                excess_ci: (-0.1, 0.1),
                p: 0.5,
                share: 0.01,
                p_holm: 1.0,
                leak: false,
            }],
            copies: CopyFigures { members: 0.01, holdout: 0.0 },
            controls: Controls {
                planted: 1.0,
                planted_found: true,
                fresh_passes: true,
                exchangeable: true,
                exchangeable_p: 0.4,
            },
            white_box: None,
            shadow: None,
            proxies: Proxies {
                note: text(),
                nearest_is_member: 0.66,
                nearest_is_member_expected: 0.67,
                distance_5_percent_members: 1.0,
                distance_5_percent_holdout: 1.0,
                distance_ratio_members: 0.9,
                distance_ratio_holdout: 0.9,
            },
            threats_tested: vec![text()],
            threats_not_tested: vec![text()],
        }
    }

    #[test]
    fn with_nothing_every_section_says_that_it_is_absent() {
        let page = render(&nothing(), None).unwrap();
        for section in SECTIONS {
            assert!(page.contains(&format!("<section id=\"{section}\"")), "{section}");
            assert!(page.contains(&format!("href=\"#{section}\"")), "{section}");
        }
        assert!(page.contains("absent:</b> no audit was made"));
        assert!(page.contains("absent:</b> no differential privacy is claimed"));
        assert!(page.matches("absent:").count() >= 9);
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn every_text_is_escaped() {
        let hostile = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}";
        let page = render(&everything(hostile), None).unwrap();
        assert!(!page.contains("<img") && !page.contains("</script>"));
        assert!(!page.contains("\"'&{{"), "quotes end no attribute");
        assert!(page.contains("{{7*7}}"), "names are no templates");
        let plain = render(&everything("plain"), None).unwrap();
        let tags = |page: &str| page.matches('<').count();
        assert_eq!(tags(&page), tags(&plain));
    }

    /// Of a report with everything in it, the one for recipients has the public part alone.
    #[test]
    fn recipients_get_the_public_part() {
        let release = |text: &str| {
            let full = everything(text);
            let files = full.files.clone();
            Release::of(text.to_owned(), vec![full.clone()], &full.stated, files).unwrap()
        };
        let hostile = "</script><img src=x onerror=alert(1)>\"'&{{7*7}}";
        let page = render_release(&release(hostile), Some("twin")).unwrap();
        assert!(!page.contains("<img") && !page.contains("</script>") && !page.contains("\"'&{{"));
        for section in ["release", "privacy", "budget", "public", "reproduce"] {
            assert!(page.contains(&format!("<section id=\"{section}\"")), "{section}");
            assert!(page.contains(&format!("href=\"#{section}\"")), "{section}");
        }
        let plain = render_release(&release("plain"), None).unwrap();
        for absent in
            ["id=\"utility\"", "id=\"audit\"", "<svg", ">Ledger<", "This page’s figures from real rows", "http"]
        {
            assert!(!plain.contains(absent), "{absent}");
        }
        assert_eq!(release("plain").stated.split, None);
        assert!(Release::of("none".into(), vec![], &ReportConfig::default(), vec![]).is_none());
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let page = render(&everything("plain"), None).unwrap();
        let loads = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for bad in ["http://", "https://", "<script", "<link", "<iframe", "url(", "@import", " src=", " onload="] {
            assert!(!loads.contains(bad), "{bad}");
        }
        assert!(page.contains("<svg"));
    }

    #[test]
    fn the_claim_is_said_in_numbers_that_are_not_too_small() {
        let page = render(&Report { claim: Some(claim(1.0)), ..nothing() }, None).unwrap();
        for words in ["<b>2.719</b>", "one in 1,000,000", "about 11,987", "73.2\u{a0}% sure"] {
            assert!(page.contains(words), "{words}");
        }
        assert!(!page.contains("promises little"));
        let page = render(&Report { claim: Some(claim(8.0)), ..nothing() }, None).unwrap();
        assert!(page.contains("promises little"));
        let page = render(&Report { claim: Some(claim(f64::INFINITY)), ..nothing() }, None).unwrap();
        assert!(page.contains("100.0\u{a0}% sure"));
    }

    /// The reason stands at the top of the page, in the decision box and in the place of the claim; the ledger says
    /// that the sum is infinite, and so does the page's twin for machines.
    #[test]
    fn not_private_is_said_loudly() {
        let line = |epsilon| LedgerLine {
            time: "t".into(),
            who: "a".into(),
            kind: "intent".into(),
            epsilon: Some(OrInfinity(epsilon)),
            delta: Some(0.0),
        };
        let reason = "no noise was added: epsilon is infinite";
        let ledger = vec![line(1.0), line(f64::INFINITY)];
        let report = Report { not_private: Some(reason.into()), ledger, ..nothing() };
        let page = render(&report, None).unwrap();
        assert_eq!((page.matches(reason).count(), page.matches("NOT PRIVATE").count()), (3, 2));
        assert!(!page.contains("No privacy claim") && !page.contains("privacy claim alone"));
        assert_eq!(page.matches("<td class=\"num\">infinite</td>").count(), 2, "the line and the sum");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ledger"][1]["epsilon"], "inf");
        assert!(!render(&nothing(), None).unwrap().contains("NOT PRIVATE"));
    }

    /// An attack that succeeds is never explained away: a claim is not confirmed by what does not refute it.
    #[test]
    fn a_leak_below_the_claim_is_no_comfort() {
        let page = |epsilon| {
            let (claim, audit) = (Some(claim(epsilon)), Some(audit("plain")));
            render(&Report { claim, audit, ..nothing() }, None).unwrap()
        };
        assert!(page(1.0).contains("does not refute the claim, and does not confirm it"));
        assert!(page(1.0).contains("test the fit with canaries before you decide"));
        assert!(!page(0.1).contains("does not refute"), "a bound of 0.2 refutes 0.1");
    }

    #[test]
    fn assumed_public_is_said_loudly() {
        let loud = |assumed_public| {
            let claim = Some(Claim { assumed_public, ..claim(1.0) });
            render(&Report { claim, ..nothing() }, None).unwrap().matches("nobody vouches").count()
        };
        assert_eq!((loud(true), loud(false)), (2, 0));
    }

    #[test]
    fn the_appendix_has_the_self_test() {
        let page = |passed| render(&Report { selftest: Some(selftest("a part", passed)), ..nothing() }, None).unwrap();
        assert!(page(true).contains(">a part</th>") && page(true).contains("all 1 passed"));
        assert!(page(false).contains("FAILED") && page(false).contains("1 of 1 failed"));
        assert!(render(&nothing(), None).unwrap().contains("absent:</b> no self-test was run"));
    }

    #[test]
    fn suppressed_cells_are_marked() {
        let page = render(&Report { marginals: vec![marginal("plain", None)], ..nothing() }, None).unwrap();
        assert!(page.contains("<td class=\"num\">fewer than 10</td>"));
        assert!(page.contains("1 of 3 suppressed"));
    }

    #[test]
    fn events_are_counted_by_share_and_alike_ones_are_told_together() {
        let line = |share: &str, name: String, noise_multiplier| BudgetLine {
            share: share.into(),
            name,
            mechanism: "one noisy histogram".into(),
            noise_multiplier,
            sampling_rate: None,
            steps: None,
        };
        let mut budget: Vec<BudgetLine> = (0..149).map(|i| line("measure", format!("pair {i}"), 40.0)).collect();
        budget.push(line("measure", "single".into(), 20.0));
        budget.push(line("prior", "latent".into(), 90.0));
        let page = render(&Report { budget, ..nothing() }, None).unwrap();
        for words in ["The 150 events of measure", "The 1 event of prior", "20 to 40", "pair 0, pair 1, "] {
            assert!(page.contains(words), "{words}");
        }
        let measure = &page[page.find("The 150 events").unwrap()..page.find("The 1 event of").unwrap()];
        assert_eq!(measure.matches("<tr class=\"group\">").count(), 2);
    }

    #[test]
    fn headings_are_in_order() {
        let page = render(&everything("plain"), None).unwrap();
        let levels: Vec<u32> = page
            .match_indices("<h")
            .filter_map(|(at, _)| page[at + 2..].chars().next().and_then(|c| c.to_digit(10)))
            .collect();
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    }

    #[test]
    fn sixty_columns_stay_under_three_megabytes() {
        let wide = |i: usize| MarginalPlot {
            column: format!("column_{i}"),
            range: None,
            labels: (0..22).map(|cell| format!("a category with a long name {cell}")).collect(),
            real: vec![Some(0.045); 22],
            synthetic: vec![0.045; 22],
            has_missing: true,
        };
        let page = render(&Report { marginals: (0..60).map(wide).collect(), ..everything("plain") }, None).unwrap();
        assert!(page.len() < 3_000_000, "{}", page.len());
    }
}
