//! A story, and how it is reported inside the lab and outside.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use libtest_mimic::Failed;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::findings::Account;
use crate::findings::Findings;
use crate::machine::Machine;

/// Why a story does not run outside.
const OUTSIDE: &str = "needs the lab: run tests/lab/run";

/// Something that has to hold in the lab's machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    name: &'static str,
    run: fn(&Machine) -> anyhow::Result<Findings>,
}

impl Story {
    /// A story of this name.
    pub(crate) const fn new(
        name: &'static str,
        run: fn(&Machine) -> anyhow::Result<Findings>,
    ) -> Self {
        Self { name, run }
    }

    /// Runs in the lab, and prints its line whatever happens.
    fn inside(self, machine: Machine) -> Trial {
        Trial::test(self.name, move || {
            let (line, verdict) = self.outcome(&machine);
            machine.report(&line)?;
            verdict.map_err(Failed::from)
        })
    }

    /// The line to print, and whether the story is ok or why not.
    fn outcome(self, machine: &Machine) -> (String, Result<(), String>) {
        let told = catch_unwind(AssertUnwindSafe(|| (self.run)(machine)));
        let (findings, verdict) = match told {
            Ok(Ok(findings)) => {
                let verdict = findings.complaint().map_or(Ok(()), Err);
                (findings, verdict)
            }
            Ok(Err(error)) => (Findings::default(), Err(format!("{error:#}"))),
            Err(panic) => (Findings::default(), Err(message(panic.as_ref()))),
        };
        let account = findings.account;
        let number = |of: fn(Account) -> u64| Value::from(account.map(of));
        let mut members: Vec<(&str, Value)> = vec![
            ("story", self.name.into()),
            ("kernel", machine.release().into()),
            ("produced", number(|account| account.produced)),
            ("delivered", number(|account| account.delivered)),
            ("coalesced", number(|account| account.coalesced)),
            ("lost", number(|account| account.lost)),
            ("invented", number(|account| account.invented)),
            ("ok", verdict.is_ok().into()),
        ];
        let facts = findings.facts.iter();
        members.extend(facts.map(|(name, value)| (name.as_str(), value.clone())));
        members.extend(
            verdict
                .as_ref()
                .err()
                .map(|why| ("error", why.clone().into())),
        );
        (object(&members), verdict)
    }

    fn outside(self) -> Trial {
        let required = std::env::var("IRQBROKER_REQUIRE")
            .is_ok_and(|list| list.split(',').any(|name| name == "lab"));
        let name = match required {
            true => self.name.to_owned(),
            false => format!("{} [{OUTSIDE}]", self.name),
        };
        // Fails if it is run all the same: it would show nothing.
        Trial::test(name, || Err(Failed::from(OUTSIDE))).with_ignored_flag(!required)
    }
}

/// What to run here.
pub(crate) fn trials(stories: &'static [Story]) -> Vec<Trial> {
    let Some(machine) = Machine::this() else {
        let stories_of_the_table = Trial::test("the_table_names_exactly_these_stories", || {
            compare(stories, include_str!("stories.table"))
        });
        return stories
            .iter()
            .map(|story| story.outside())
            .chain([stories_of_the_table])
            .collect();
    };
    let asked = Machine::stories();
    let find = |name: &String| stories.iter().find(|story| story.name == name);
    asked
        .iter()
        .map(|name| match find(name) {
            Some(story) => story.inside(machine.clone()),
            None => Trial::test(name, || Err(Failed::from("no such story"))),
        })
        .collect()
}

/// The table that `run` expects results by, against the stories there are.
fn compare(stories: &[Story], table: &str) -> Result<(), Failed> {
    let listed: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut names: Vec<&str> = stories.iter().map(|story| story.name).collect();
    let mut sorted = listed;
    sorted.sort_unstable();
    names.sort_unstable();
    match sorted == names {
        true => Ok(()),
        false => Err(format!("listed {sorted:?}, there are {names:?}").into()),
    }
}

/// A JSON object whose members stay in this order, so that a reader finds the story first.
fn object(members: &[(&str, Value)]) -> String {
    let members = members.iter();
    let members = members.map(|(name, value)| format!("{}:{value}", Value::from(*name)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// What a panic said.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
