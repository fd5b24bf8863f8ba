use std::path::Path;

use toml::Table;
use toml::Value;

use super::*;
use crate::config::error::ConfigError;
use crate::config::key::leaves;
use crate::config::key::variable;
use crate::config::reload::ReloadError;
use crate::config::schema::Quotas;

/// Loads `text` as the file, with these variables and `--set` flags.
fn loaded(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("irqbroker.toml");
    std::fs::write(&file, text).unwrap();
    let args = ConfigArgs {
        config: Some(file),
        settings: flags.iter().map(|&flag| flag.to_owned()).collect(),
        ..ConfigArgs::default()
    };
    let variables = variables.iter();
    load(
        &args,
        variables.map(|(name, value)| (name.into(), value.into())),
    )
}

/// What is said of a file that is refused, after its name.
fn refusal(text: &str) -> String {
    let error = loaded(text, &[], &[]).unwrap_err().to_string();
    error.split_once("irqbroker.toml:").unwrap().1.to_owned()
}

#[test]
fn default_file_says_every_default_and_nothing_else() {
    let table: Table = toml::from_str(DEFAULT_FILE).unwrap();
    let config: Config = toml::from_str(DEFAULT_FILE).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(table, Table::try_from(Config::default()).unwrap());
}

#[test]
fn default_file_has_a_comment_above_every_key() {
    let lines: Vec<&str> = DEFAULT_FILE.lines().collect();
    let mut section = "";
    for pair in lines.windows(2) {
        let [above, line] = pair else { unreachable!() };
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            // A scope's groups stand under its users.
            let explained = above.starts_with('#') || key == "gids";
            assert!(explained, "{section} {key} has no comment");
        }
    }
}

#[test]
fn default_file_marks_exactly_the_keys_that_need_a_restart() {
    let mut section = "";
    let mut comment = String::new();
    for line in DEFAULT_FILE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push_str(text);
        } else if let Some((key, _)) = line.split_once(" = ") {
            let key = format!("{section}.{key}");
            let fixed = reload::AT_START.contains(&key.as_str());
            assert_eq!(comment.contains("Restart."), fixed, "{key}");
            comment.clear();
        }
    }
}

#[test]
fn file_with_an_unknown_key_is_refused_with_line_and_key() {
    let refused = refusal("[control]\nsocket = \"/run/a.sock\"\nsockets = 3\n");
    assert!(
        refused.starts_with("3: control.sockets: unknown field `sockets`"),
        "{refused}"
    );
}

#[test]
fn file_with_a_wrong_type_or_value_is_refused_with_line_and_key() {
    let cases = [
        (
            "[quotas]\n\nfds = \"many\"\n",
            "3: quotas.fds: invalid type",
        ),
        ("[quotas]\nfds = 0\n", "2: quotas.fds: invalid value"),
        (
            "[control]\nmode = \"0999\"\n",
            "2: control.mode: must be permission bits",
        ),
        (
            "[control]\nsocket = \"a.sock\"\n",
            "2: control.socket: must be an absolute path",
        ),
        (
            "[metrics]\nlisten = \"0.0.0.0:1\"\n",
            "2: metrics.listen: must be an address of the loopback",
        ),
        (
            "[access.producer]\nuids = [1, -1]\n",
            "2: access.producer.uids: invalid value",
        ),
        (
            "sandbox.landlock = \"maybe\"\n",
            "1: sandbox.landlock: unknown variant `maybe`",
        ),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.starts_with(expected), "{text}: {refused}");
    }
}

#[test]
fn file_that_is_no_toml_is_refused_with_its_line_on_one_line() {
    let refused = refusal("[control]\nsocket = \n");
    assert!(refused.starts_with("2: "), "{refused}");
    assert!(!refused.contains('\n'), "{refused}");
}

#[test]
fn file_that_says_a_key_twice_is_refused_with_line_and_key() {
    let cases = [
        (
            "[quotas]\nfds = 1\n fds = 2\n",
            "3: quotas.fds: duplicate key",
        ),
        (
            "log.level = \"info\"\nlog.level = \"warn\"\n",
            "2: log.level: duplicate key",
        ),
        (
            "[quotas]\nfds = 1\n[quotas]\nobjects = 2\n",
            "3: quotas: duplicate key",
        ),
    ];
    for (text, expected) in cases {
        let refused = refusal(text);
        assert!(refused.starts_with(expected), "{text}: {refused}");
    }
}

#[test]
fn file_with_a_byte_that_is_not_utf_8_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("irqbroker.toml");
    std::fs::write(&file, b"[log]\nlevel = \"warn\xff\"\n").unwrap();
    let args = ConfigArgs {
        config: Some(file),
        ..ConfigArgs::default()
    };
    let text = load(&args, []).unwrap_err().to_string();
    let (_, refused) = text.split_once("irqbroker.toml:").unwrap();
    assert_eq!(refused, "2: a byte that is not UTF-8");
}

#[test]
fn variable_that_is_mistyped_is_refused_with_its_name_and_others_are_not() {
    let mistyped = [("IRQBROKER_QUOTAS_CONECTIONS", "5")];
    let text = loaded("", &mistyped, &[]).unwrap_err().to_string();
    assert!(
        text.starts_with("IRQBROKER_QUOTAS_CONECTIONS: the configuration has no such key"),
        "{text}"
    );
    // Another's, though it begins alike.
    loaded("", &[("IRQBROKER_REQUIRE", "kvm")], &[]).unwrap();
}

#[test]
fn file_that_is_named_and_missing_is_an_error() {
    let args = ConfigArgs {
        config: Some("/nonexistent/irqbroker.toml".into()),
        ..ConfigArgs::default()
    };
    let error = load(&args, []).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot read /nonexistent/irqbroker.toml: No such file"),
        "{text}"
    );
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let file = "[quotas]\nconnections = 1\nobjects = 1\nfds = 1\n";
    let variables = [
        ("IRQBROKER_QUOTAS_OBJECTS", "2"),
        ("IRQBROKER_QUOTAS_FDS", "2"),
    ];
    let config = loaded(file, &variables, &["quotas.fds=3"]).unwrap().config;
    let quotas = config.quotas;
    let found = [quotas.connections, quotas.objects, quotas.fds].map(|limit| limit.get());
    assert_eq!(found, [1, 2, 3]);
    assert_eq!(quotas.backlog_kib, Quotas::default().backlog_kib);
}

#[test]
fn flags_of_their_own_win_over_set() {
    let args = ConfigArgs {
        config: Some("/dev/null".into()),
        socket: Some("/run/own.sock".into()),
        settings: vec!["control.socket=/run/set.sock".into()],
        ..ConfigArgs::default()
    };
    let loaded = load(&args, []).unwrap();
    assert_eq!(
        loaded.config.control.socket.as_path(),
        Path::new("/run/own.sock")
    );
    assert_eq!(loaded.settings, ["--set", "--socket"]);
}

#[test]
fn flag_with_a_relative_path_is_of_the_current_folder() {
    let args = ConfigArgs {
        config: Some("/dev/null".into()),
        socket: Some("own.sock".into()),
        ..ConfigArgs::default()
    };
    let loaded = load(&args, []).unwrap();
    let expected = std::env::current_dir().unwrap().join("own.sock");
    assert_eq!(loaded.config.control.socket.as_path(), expected);
}

#[test]
fn every_key_can_be_said_by_a_variable_as_it_stands_in_the_file() {
    for (key, value) in leaves(&Config::default()) {
        let (name, text) = (variable(&key), value.to_string());
        let loaded = loaded("", &[(&name, &text)], &[]).unwrap();
        assert_eq!(loaded.config, Config::default(), "{key}");
        assert_eq!(loaded.settings, [name]);
    }
}

#[test]
fn variable_with_a_string_needs_no_quotes() {
    let variables = [
        ("IRQBROKER_CONTROL_MODE", "0600"),
        ("IRQBROKER_METRICS_LISTEN", "127.0.0.1:9464"),
        ("IRQBROKER_ACCESS_READ_ONLY_GIDS", "[4, 36]"),
    ];
    let config = loaded("", &variables, &[]).unwrap().config;
    assert_eq!(config.control.mode.bits(), Some(0o600));
    assert_eq!(config.metrics.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.access.read_only.gids, [4, 36]);
}

#[test]
fn variable_or_flag_with_a_wrong_value_is_refused_with_its_name_and_key() {
    let refused = loaded("", &[("IRQBROKER_LOG_LEVEL", "loud")], &[]).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.starts_with("IRQBROKER_LOG_LEVEL: log.level: unknown variant `loud`"),
        "{text}"
    );
    let refused = loaded("", &[], &["log.levels=info"])
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("--set: log.levels: unknown field"),
        "{refused}"
    );
    let refused = loaded("", &[], &["log.level"]).unwrap_err().to_string();
    assert_eq!(
        refused,
        "--set log.level: must be KEY=VALUE, as log.level=info"
    );
}

#[test]
fn variable_cannot_bring_further_keys_along() {
    let value = "3\nfds = 4";
    let refused = loaded("", &[("IRQBROKER_QUOTAS_OBJECTS", value)], &[]).unwrap_err();
    assert!(matches!(refused, ConfigError::Setting { .. }), "{refused}");
}

#[test]
fn reload_knows_of_every_key_whether_it_may_change() {
    let mut known = [reload::AT_RUN_TIME, reload::AT_START].concat();
    known.sort_unstable();
    let keys: Vec<String> = leaves(&Config::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(known, keys);
}

/// A configuration that differs from the default in one key.
fn with(key: &str, value: Value) -> Config {
    key::table(key, value).try_into().unwrap()
}

#[test]
fn reload_takes_over_what_changed_and_names_it() {
    let old = Config::default();
    assert_eq!(reload(&old, &old), Ok(vec![]));
    let new = with(
        "access.producer.uids",
        Value::Array(vec![Value::Integer(7)]),
    );
    assert_eq!(
        reload(&old, &new),
        Ok(vec!["access.producer.uids".to_owned()])
    );
}

#[test]
fn reload_of_a_key_that_needs_a_restart_is_refused_whatever_else_changed() {
    let old = Config::default();
    let mut new = with("metrics.listen", Value::String("127.0.0.1:1".into()));
    new.quotas.fds = std::num::NonZeroU32::MIN;
    let keys = vec!["metrics.listen".to_owned()];
    assert_eq!(reload(&old, &new), Err(ReloadError::NeedsRestart { keys }));
}

#[test]
fn reload_cannot_turn_hosting_on_or_off() {
    let old = Config::default();
    let off = with("vgpu.max_devices", Value::Integer(0));
    assert_eq!(reload(&old, &off), Err(ReloadError::Hosting));
    assert_eq!(reload(&off, &old), Err(ReloadError::Hosting));
    let fewer = with("vgpu.max_devices", Value::Integer(3));
    assert_eq!(
        reload(&old, &fewer),
        Ok(vec!["vgpu.max_devices".to_owned()])
    );
}
