//! Putting the layers on top of each other: profile, file, environment, flags. All mistakes are reported at once.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use anchor_core::engine::{EngineKind, Llm, Stt, Tts, VadModel};
use anchor_engines::slot::{UnknownEngine, find};
use toml::Value;
use toml::de::{DeTable, DeValue};

use super::settings::{SETTINGS, Setting};
use super::{Config, PROFILES, Profile};

/// Read when no other file is asked for and it is there.
const DEFAULT_FILE: &str = "anchor.toml";

/// What the variables of the environment begin with.
const PREFIX: &str = "ANCHOR_";

/// Variables that are not settings: the profile, and what is logged.
const OTHER_VARIABLES: &[&str] = &["ANCHOR_PROFILE", "ANCHOR_LOG"];

/// From this likeness on (Jaro-Winkler, 0 to 1) a key is taken for a misspelling of another.
const ALIKE: f64 = 0.8;

/// Where the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; without one, `anchor.toml` in the current directory if it is there.
    pub file: Option<PathBuf>,
    /// The profile; without one, what the environment or the file says.
    pub profile: Option<String>,
    /// The variables of the environment, by name.
    pub environment: BTreeMap<String, String>,
    /// Settings from the command line.
    pub flags: Vec<Flag>,
}

/// A setting from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, such as `--port`.
    pub flag: &'static str,
    /// The setting it sets, such as `server.port`.
    pub key: String,
    /// To what.
    pub value: String,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("the settings cannot be used:{}", List(.0))]
    Mistakes(Vec<Mistake>),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// File and line, variable or flag.
    pub place: String,
    /// What is wrong and what to do about it.
    pub what: String,
}

impl Flag {
    /// The flag sets this setting to this value.
    pub fn new(flag: &'static str, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { flag, key: key.into(), value: value.into() }
    }
}

impl ConfigError {
    /// Only the command line is to blame.
    pub(crate) fn of_flags_alone(&self) -> bool {
        matches!(self, Self::Mistakes(mistakes) if mistakes.iter().all(|mistake| mistake.place.starts_with("--")))
    }
}

struct List<'a>(&'a [Mistake]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Mistake { place, what }| write!(f, "\n  {place}: {what}"))
    }
}

impl Sources {
    /// The environment of this process.
    pub fn of_process(file: Option<PathBuf>, profile: Option<String>, flags: Vec<Flag>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { file, profile, environment, flags }
    }

    /// The checked configuration.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let file = self.open()?;
        self.stack(file.as_ref().map(|(path, text)| (path.as_path(), text.as_str()))).map_err(ConfigError::Mistakes)
    }

    fn stack(&self, file: Option<(&Path, &str)>) -> Result<Config, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let file = file.map(|(path, text)| File::parse(path, text, &mut mistakes));
        let profile = self.profile(file.as_ref(), &mut mistakes);
        let mut config = Config::of(profile);
        if let Some(file) = file {
            file.apply(&mut config, &mut mistakes);
        }
        self.apply_environment(&mut config, &mut mistakes);
        for Flag { flag, key, value } in &self.flags {
            let outcome = setting(key).ok_or_else(|| unknown(key)).and_then(|it| set_text(it, &mut config, value));
            mistakes.extend(outcome.err().map(|what| Mistake { place: (*flag).into(), what }));
        }
        if config.engines.tts.first().map(String::as_str) != profile.tts.first().copied()
            && config.anchor.voice == profile.voice
        {
            // The profile's voice is a voice of the profile's best engine; another has its own first.
            config.anchor.voice.clear();
        }
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn open(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let path = self.file.clone().unwrap_or_else(|| DEFAULT_FILE.into());
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if self.file.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }

    fn profile(&self, file: Option<&File>, mistakes: &mut Vec<Mistake>) -> &'static Profile {
        let variable = self.environment.get("ANCHOR_PROFILE");
        let (place, name) = match (&self.profile, variable, file.and_then(|file| file.profile.as_ref())) {
            (Some(name), _, _) => ("--profile".to_owned(), name),
            (None, Some(name), _) => ("ANCHOR_PROFILE".to_owned(), name),
            (None, None, Some((place, name))) => (place.clone(), name),
            (None, None, None) => return &PROFILES[0],
        };
        PROFILES.iter().find(|profile| profile.name == *name).unwrap_or_else(|| {
            let known: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
            let what = format!("there is no profile called '{name}'. There is: {}", known.join(", "));
            mistakes.push(Mistake { place, what });
            &PROFILES[0]
        })
    }

    fn apply_environment(&self, config: &mut Config, mistakes: &mut Vec<Mistake>) {
        for (name, value) in &self.environment {
            let known = SETTINGS.iter().find(|setting| variable(setting.key) == *name);
            if let Some(setting) = known {
                if let Err(what) = set_text(setting, config, value) {
                    mistakes.push(Mistake { place: name.clone(), what });
                }
            } else if !OTHER_VARIABLES.contains(&name.as_str()) {
                // Other programs have variables of this prefix, too, so that an unknown one is no mistake for certain.
                let names: Vec<_> = SETTINGS.iter().map(|setting| variable(setting.key)).collect();
                let endings = names.iter().map(|name| &name[PREFIX.len()..]);
                if let Some(nearest) = nearest(name.trim_start_matches(PREFIX), endings) {
                    tracing::warn!("{name} is not a setting and was ignored; did you mean {PREFIX}{nearest}?");
                }
            }
        }
    }
}

fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Sets what came as bare text: as a text where that fits, as a number or a truth otherwise.
fn set_text(setting: &Setting, config: &mut Config, text: &str) -> Result<(), String> {
    let as_text = (setting.set)(config, &Value::String(text.into()));
    match text.parse::<Value>() {
        Err(_) | Ok(Value::String(_)) => as_text,
        Ok(value) => as_text.or_else(|_| (setting.set)(config, &value)),
    }
}

/// The file, its values found and its lines known.
struct File {
    /// Relative paths in it count from here.
    folder: PathBuf,
    profile: Option<(String, String)>,
    settings: Vec<(String, &'static Setting, Value)>,
    options: BTreeMap<(EngineKind, String), toml::Table>,
}

impl File {
    fn parse(path: &Path, text: &str, mistakes: &mut Vec<Mistake>) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let mut file = Self { folder, profile: None, settings: Vec::new(), options: BTreeMap::new() };
        let place = |offset: usize| {
            let line = 1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
            format!("{} line {line}", path.display())
        };
        // Read twice: once for what stands where, once for what it means.
        let (layout, values) = match (DeTable::parse(text), text.parse::<toml::Table>()) {
            (Ok(layout), Ok(values)) => (layout.into_inner(), values),
            (Err(error), _) | (_, Err(error)) => {
                let place = place(error.span().map_or(0, |span| span.start));
                mistakes.push(Mistake { place, what: error.message().replace('\n', ", ") });
                return file;
            }
        };
        let mut found = Vec::new();
        for (section, content) in &layout {
            let start = section.span().start;
            match content.get_ref() {
                DeValue::Table(table) if section.get_ref() != "profile" => {
                    for (name, _) in table {
                        found.push((name.span().start, section.get_ref().as_ref(), Some(name.get_ref().as_ref())));
                    }
                    if table.is_empty() {
                        found.push((start, section.get_ref().as_ref(), None));
                    }
                }
                _ => found.push((start, section.get_ref().as_ref(), None)),
            }
        }
        found.sort_unstable();
        for (offset, section, name) in found {
            let value = name.map_or(&values[section], |name| &values[section][name]);
            if let Err(what) = file.take(&place(offset), section, name, value) {
                mistakes.push(Mistake { place: place(offset), what });
            }
        }
        file
    }

    /// Takes one key of the file.
    fn take(&mut self, place: &str, section: &str, name: Option<&str>, value: &Value) -> Result<(), String> {
        let kind = [EngineKind::Stt, EngineKind::Llm, EngineKind::Tts, EngineKind::Vad]
            .into_iter()
            .find(|kind| kind.name() == section);
        match (section, name, kind) {
            ("profile", _, _) => {
                let name =
                    value.as_str().ok_or_else(|| format!("the profile must be a name in quotes, not {value}"))?;
                self.profile = Some((place.into(), name.into()));
            }
            (_, Some(engine), Some(kind)) => {
                exists(kind, engine).map_err(|error| error.to_string())?;
                let table = value.as_table().ok_or_else(|| {
                    format!("options of an engine stand in a table of their own: write [{section}.{engine}] above them")
                })?;
                self.options.insert((kind, engine.into()), table.clone());
            }
            (_, None, _) if value.is_table() && (kind.is_some() || known_section(section)) => {}
            (_, None, _) => return Err(unknown(section)),
            (_, Some(name), None) => {
                let key = format!("{section}.{name}");
                let setting = setting(&key).ok_or_else(|| unknown(&key))?;
                self.settings.push((place.into(), setting, value.clone()));
            }
        }
        Ok(())
    }

    fn apply(self, config: &mut Config, mistakes: &mut Vec<Mistake>) {
        for (place, setting, value) in self.settings {
            if let Err(what) = (setting.set)(config, &value) {
                mistakes.push(Mistake { place, what: format!("{}: {what}", setting.key) });
            }
        }
        for path in [&mut config.rundown.path, &mut config.models.path, &mut config.models.offline] {
            if !path.is_empty() {
                *path = self.folder.join(&*path).to_string_lossy().into_owned();
            }
        }
        config.options = self.options;
    }
}

fn exists(kind: EngineKind, engine: &str) -> Result<(), UnknownEngine> {
    match kind {
        EngineKind::Stt => find::<dyn Stt>(engine).map(|_| ()),
        EngineKind::Llm => find::<dyn Llm>(engine).map(|_| ()),
        EngineKind::Tts => find::<dyn Tts>(engine).map(|_| ()),
        EngineKind::Vad => find::<dyn VadModel>(engine).map(|_| ()),
    }
}

fn known_section(section: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.split_once('.').is_some_and(|(known, _)| known == section))
}

/// What to say about a key that nothing knows: the same name in another section, or the one most like it.
fn unknown(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    let elsewhere = keys().find(|known| known.split_once('.').is_some_and(|(_, known)| known == name));
    let here = || keys().filter(|known| known.split_once('.').is_some_and(|(known, _)| known == section));
    let sections = || keys().filter_map(|known| known.split_once('.').map(|(section, _)| section));
    let meant = match (elsewhere, known_section(section)) {
        (Some(known), _) => Some(known),
        (None, true) => nearest(key, here()),
        (None, false) if section.is_empty() => nearest(name, sections()),
        (None, false) => nearest(key, keys()),
    };
    match meant {
        Some(meant) if meant.contains('.') => {
            let (section, name) = meant.split_once('.').unwrap_or_default();
            format!("there is no setting '{key}'. Did you mean '{name}' in the section [{section}]?")
        }
        Some(meant) => format!("there is no section or setting '{key}'. Did you mean the section [{meant}]?"),
        None => format!("there is no setting '{key}'. `ai-anchor config --defaults` prints all there are"),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, environment: &[(&str, &str)], flags: Vec<Flag>) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let sources = Sources { environment, flags, ..Sources::default() };
        let config = sources.stack(Some((Path::new("studio/anchor.toml"), file)));
        config.map_err(|mistakes| ConfigError::Mistakes(mistakes).to_string())
    }

    #[test]
    fn later_layers_win() {
        let port = |file, environment: &[_], flags| read(file, environment, flags).unwrap().server.port;
        let file = "[server]\nport = 1";
        assert_eq!(port("", &[], vec![]), 8090);
        assert_eq!(port(file, &[], vec![]), 1);
        assert_eq!(port(file, &[("ANCHOR_SERVER_PORT", "2")], vec![]), 2);
        let flag = Flag::new("--port", "server.port", "3");
        assert_eq!(port(file, &[("ANCHOR_SERVER_PORT", "2")], vec![flag]), 3);
    }

    #[test]
    fn texts_from_the_environment_may_look_like_numbers() {
        let config = read("", &[("ANCHOR_ANCHOR_NAME", "42"), ("ANCHOR_ENGINES_PRELOAD", "false")], vec![]).unwrap();
        assert_eq!(config.anchor.name, "42");
        assert!(!config.engines.preload);
    }

    #[test]
    fn paths_in_a_file_count_from_the_file() {
        assert_eq!(read("[rundown]\npath = 'tonight.md'", &[], vec![]).unwrap().rundown.path, "studio/tonight.md");
        assert_eq!(read("[rundown]\npath = '/tonight.md'", &[], vec![]).unwrap().rundown.path, "/tonight.md");
        let from_outside = read("", &[("ANCHOR_RUNDOWN_PATH", "tonight.md")], vec![]).unwrap();
        assert_eq!(from_outside.rundown.path, "tonight.md");
        let models = read("[models]\npath = 'weights'\noffline = '../disk'", &[], vec![]).unwrap().models;
        assert_eq!((&*models.path, &*models.offline), ("studio/weights", "studio/../disk"));
    }

    #[test]
    fn all_mistakes_are_reported_with_their_places() {
        let file = "profile = 'studioo'\nport = 1\n[turn]\nsilence_duration = 500\nthreshold = 2\n\n[servr]\n[anchor]\nspeed = 'fast'\nport = 9\n[colour]\nred = 1\n";
        insta::assert_snapshot!(read(file, &[("ANCHOR_SERVER_PORT", "99999")], vec![]).unwrap_err(), @r#"
        the settings cannot be used:
          studio/anchor.toml line 2: there is no setting 'port'. Did you mean 'port' in the section [server]?
          studio/anchor.toml line 4: there is no setting 'turn.silence_duration'. Did you mean 'silence_duration_ms' in the section [turn]?
          studio/anchor.toml line 7: there is no section or setting 'servr'. Did you mean the section [server]?
          studio/anchor.toml line 10: there is no setting 'anchor.port'. Did you mean 'port' in the section [server]?
          studio/anchor.toml line 12: there is no setting 'colour.red'. `ai-anchor config --defaults` prints all there are
          studio/anchor.toml line 1: there is no profile called 'studioo'. There is: embedded, studio
          studio/anchor.toml line 5: turn.threshold: it must be from 0.05 to 0.95, not 2
          studio/anchor.toml line 9: anchor.speed: it must be a number, not "fast"
          ANCHOR_SERVER_PORT: it must be a whole number from 0 to 65535, not 99999
        "#);
        insta::assert_snapshot!(read("[server\nport = 1", &[], vec![]).unwrap_err(), @"
        the settings cannot be used:
          studio/anchor.toml line 1: unclosed table, expected `]`
        ");
    }

    #[test]
    fn engines_are_one_or_several() {
        let tts = |file| read(file, &[], vec![]).map(|config| config.engines.tts);
        assert_eq!(tts("[engines]\ntts = 'espeak'").unwrap(), ["espeak"]);
        assert_eq!(tts("[engines]\ntts = ['espeak', 'flite']").unwrap(), ["espeak", "flite"]);
        let variable = read("", &[("ANCHOR_ENGINES_TTS", "espeak, flite")], vec![]).unwrap();
        assert_eq!(variable.engines.tts, ["espeak", "flite"]);
        assert_eq!(variable.anchor.voice, "", "it was the voice of another engine");
        let kept = read("[engines]\ntts = ['flite', 'espeak']", &[], vec![]).unwrap();
        assert_eq!(kept.anchor.voice, "rms");
        let mistake = |tts: &str| read(&format!("[engines]\ntts = {tts}"), &[], vec![]).unwrap_err();
        let mistakes = ["[]", "['flite', 'flite']", "['flite', 'flight']", "[1]"].map(mistake);
        let mistakes = mistakes.map(|text| text.rsplit("engines.tts: ").next().unwrap_or_default().to_owned());
        insta::assert_snapshot!(mistakes.join("\n"), @"
        it must name at least one engine
        it names 'flite' twice
        there is no tts engine called 'flight' (did you mean 'flite'?). There is: flite, espeak, higgs-server, openai-speech
        it must be a name in quotes, or a list of such names, not [1]
        ");
    }

    #[test]
    fn engine_tables_belong_to_engines_there_are() {
        let message = read("[stt.nobody]\nx = 1", &[], vec![]).unwrap_err();
        assert!(message.contains("line 1: there is no stt engine called 'nobody'"), "{message}");
    }
}
