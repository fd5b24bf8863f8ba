//! The configuration in the loop's own terms.

use irqbroker_protocol::Scope;

use super::args::ServeArgs;
use crate::config::Allow;
use crate::config::Config;
use crate::serve::Options;
use crate::serve::Partners;
use crate::serve::Policy;
use crate::serve::Quotas;
use crate::serve::Rule;
use crate::serve::Who;

/// What a uid or gid given on the command line may do.
const GIVEN: [Scope; 3] = [Scope::Producer, Scope::Consumer, Scope::ReadOnly];

/// What the loop goes by; `own` is the daemon's user.
pub(super) fn options(config: &Config, args: &ServeArgs, own: u32) -> Options {
    Options {
        socket: config.control.socket.as_path().to_owned(),
        policy: policy(config, args, own),
        partners: Partners {
            groups: config.access.partners.clone(),
        },
        quotas: quotas(config),
    }
}

fn policy(config: &Config, args: &ServeArgs, own: u32) -> Policy {
    let access = &config.access;
    let lists: [(&Allow, &[Scope]); 4] = [
        (&access.producer, &[Scope::Producer]),
        (&access.consumer, &[Scope::Consumer]),
        // Whoever may change everything may see it.
        (&access.operator, &[Scope::Operator, Scope::ReadOnly]),
        (&access.read_only, &[Scope::ReadOnly]),
    ];
    let given = Allow {
        uids: args.allow_uids.clone(),
        gids: args.allow_gids.clone(),
    };
    let listed = lists.into_iter().chain([(&given, &GIVEN[..])]);
    let mut policy = Policy::new(own);
    let rules = listed.flat_map(|(allow, scopes)| rules(allow, scopes));
    policy.rules.extend(rules);
    policy
}

fn rules<'a>(allow: &'a Allow, scopes: &'a [Scope]) -> impl Iterator<Item = Rule> + 'a {
    let uids = allow.uids.iter().map(|&uid| Who::Uid(uid));
    let gids = allow.gids.iter().map(|&gid| Who::Gid(gid));
    uids.chain(gids).map(|who| Rule {
        who,
        scopes: scopes.to_vec(),
    })
}

fn quotas(config: &Config) -> Quotas {
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let quotas = &config.quotas;
    Quotas {
        connections: size(quotas.connections.get()),
        objects: size(quotas.objects.get()),
        fds: size(quotas.fds.get()),
        // The loop finds out.
        all_fds: usize::MAX,
        requests_per_second: quotas.requests_per_second.get(),
        backlog_bytes: size(quotas.backlog_kib.get()).saturating_mul(1024),
        memory_bytes: size(quotas.memory_kib.get()).saturating_mul(1024),
        linger_ms: config.sessions.linger_limit_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use clap::Parser;

    // The daemon's user, and one that is listed nowhere.
    const OWN: u32 = 990;
    const OTHER: u32 = 1000;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn args(words: &[&str]) -> ServeArgs {
        let words = std::iter::once(&"serve").chain(words);
        Command::try_parse_from(words).unwrap().serve
    }

    fn scopes(policy: &Policy, uid: u32, gid: u32) -> Vec<Scope> {
        let granted = |scope: &Scope| policy.grants(uid, gid, *scope);
        Scope::ALL.into_iter().filter(granted).collect()
    }

    #[test]
    fn policy_of_the_default_admits_root_and_the_daemons_user_to_everything() {
        let options = options(&Config::default(), &args(&[]), OWN);
        assert_eq!(scopes(&options.policy, 0, OTHER), Scope::ALL);
        assert_eq!(scopes(&options.policy, OWN, OTHER), Scope::ALL);
        assert!(!options.policy.admits(OTHER, 0));
        assert!(!options.policy.admits_others(OWN));
    }

    #[test]
    fn policy_gives_each_list_its_own_scope_and_operators_the_right_to_look() {
        let mut config = Config::default();
        let lists = [
            &mut config.access.producer,
            &mut config.access.consumer,
            &mut config.access.operator,
            &mut config.access.read_only,
        ];
        for (list, gid) in lists.into_iter().zip(1..) {
            list.gids = vec![gid];
        }
        let policy = options(&config, &args(&[]), OWN).policy;
        assert_eq!(scopes(&policy, OTHER, 1), [Scope::Producer]);
        assert_eq!(scopes(&policy, OTHER, 2), [Scope::Consumer]);
        assert_eq!(
            scopes(&policy, OTHER, 3),
            [Scope::Operator, Scope::ReadOnly]
        );
        assert_eq!(scopes(&policy, OTHER, 4), [Scope::ReadOnly]);
        assert!(!policy.admits(OTHER, 5));
        // A user's number is no group's.
        assert!(!policy.admits(1, OTHER));
    }

    #[test]
    fn policy_takes_uids_and_gids_of_the_command_line_but_not_as_operators() {
        let args = args(&["--allow-uid", "7", "--allow-gid", "8"]);
        let policy = options(&Config::default(), &args, OWN).policy;
        assert_eq!(scopes(&policy, 7, OTHER), GIVEN);
        assert_eq!(scopes(&policy, OTHER, 8), GIVEN);
    }

    #[test]
    fn quotas_of_the_default_are_those_of_the_loop() {
        let options = options(&Config::default(), &args(&[]), OWN);
        assert_eq!(
            format!("{:?}", options.quotas),
            format!("{:?}", Quotas::default())
        );
    }
}
