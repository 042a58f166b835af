//! The table of settings, one line each.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use anchor_core::engine::{Llm, Stt, Tts, VadModel};
use anchor_engines::slot::{Kind, find};
use toml::Value;

use super::Config;
use crate::memory::Card;

/// One thing that can be set.
pub(super) struct Setting {
    /// Its section and name, such as `server.port`.
    pub key: &'static str,
    /// What it means, as a comment of the example file.
    pub about: &'static str,
    /// Its value.
    pub get: fn(&Config) -> Value,
    /// Sets it, or says what is wrong with the value.
    pub set: fn(&mut Config, &Value) -> Result<(), String>,
}

macro_rules! settings {
    ($($section:ident.$name:ident $(, $check:expr)?; $about:literal;)*) => {
        &[$(Setting {
            key: concat!(stringify!($section), ".", stringify!($name)),
            about: $about,
            get: |config| config.$section.$name.to_value(),
            set: |config, value| {
                let value = typed_like(&config.$section.$name, value)?;
                $($check(&value)?;)?
                config.$section.$name = value;
                Ok(())
            },
        }),*]
    };
}

/// Every setting, in the order of the example file.
pub(super) static SETTINGS: &[Setting] = settings! {
    server.host, some; "Address to listen on. 127.0.0.1 is this machine alone; 0.0.0.0 is everybody who can reach it.";
    server.port; "Port to listen on. 0 takes any that is free.";
    server.max_sessions, within(1..=1000); "Conversations at the same time.";
    server.webrtc; "Take conversations over WebRTC, beside those over WebSockets.";
    server.webrtc_port; "UDP port of their sound, one for all. Empty takes the number of server.port; 0 takes any that is free.";
    server.public_ip, ip; "Address at which clients reach this machine through a router or a cloud's network. Empty where they reach it directly.";
    anchor.name, some; "The anchor's name.";
    anchor.instructions; "What the anchor is told about its manner.";
    anchor.voice; "The voice, as `ai-anchor say --list` names it. Empty takes the engine's first.";
    anchor.speed, within(0.25..=1.5); "Pace of the voice: 1.0 is as it comes.";
    anchor.language; "Language spoken to the anchor, as an ISO 639-1 code. Empty lets the recogniser find out.";
    turn.threshold, within(0.05..=0.95); "Probability from which sound counts as speech. Raise it in a noisy room.";
    turn.prefix_padding_ms, within(0..=2000); "Sound kept from before the speech was noticed.";
    turn.silence_duration_ms, within(100..=5000); "A pause this long ends a turn. Longer for people who think while they speak.";
    turn.interrupt_response; "The anchor stops when somebody talks over it.";
    engines.stt, |names: &Vec<String>| chain::<dyn Stt>(names); "The recogniser, or a list of them: the next takes over from one that fails. `ai-anchor engines` lists all.";
    engines.llm, |names: &Vec<String>| chain::<dyn Llm>(names); "The language model, or a list of them.";
    engines.tts, |names: &Vec<String>| chain::<dyn Tts>(names); "The voice, or a list of them.";
    engines.vad, |name: &String| known(find::<dyn VadModel>(name)); "The voice activity detector.";
    engines.stt_patience_ms, within(100..=60_000); "Where another recogniser is listed, it takes over from one that gives no transcript for this long after a turn.";
    engines.llm_patience_ms, within(100..=60_000); "The same for a language model that writes nothing for this long.";
    engines.tts_patience_ms, within(100..=60_000); "The same for a voice from which no sound comes for this long.";
    engines.preload; "Load the engines at the start rather than when they are first used.";
    rundown.path; "The stories, as a Markdown file; a relative path counts from this file. Empty takes the sample.";
    models.path; "The folder of downloaded models. Empty takes ~/.local/share/ai-anchor/models.";
    models.mirror, address; "Where models are downloaded from: Hugging Face, or a mirror that answers like it.";
    models.offline; "A folder to copy models from; the network is not asked then. Empty downloads them.";
    servers.start; "Start the model servers that the engines need, unless they run already.";
    servers.ollama_command; "Command line that runs Ollama, for /bin/sh. Empty takes the one that `ai-anchor setup` installs.";
    servers.ollama_lazy; "Start Ollama when it is first used rather than with the program.";
    servers.ollama_idle_minutes, within(0..=10_080); "Stop Ollama after this many minutes without use. 0 never stops it.";
    servers.higgs_command; "The same three for the server of Higgs.";
    servers.higgs_lazy; "Start it when it is first used.";
    servers.higgs_idle_minutes, within(0..=10_080); "Stop it after this many minutes without use.";
    servers.voxtral_command; "The same three for the server of Voxtral.";
    servers.voxtral_lazy; "Start it when it is first used.";
    servers.voxtral_idle_minutes, within(0..=10_080); "Stop it after this many minutes without use.";
    gpu.card, |name: &String| card(name); "The card to plan the memory of, such as rtx6000-48gb or 24gb. Empty asks the driver.";
    gpu.reserve_mb, within(0..=1_000_000); "Memory of the card that the model servers leave to the desktop and other programs.";
};

/// A type a setting can have.
trait Typed: Sized {
    fn to_value(&self) -> Value;
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl Typed for String {
    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| expected("a text in quotes", value))
    }
}

impl Typed for Vec<String> {
    /// One name stands without brackets.
    fn to_value(&self) -> Value {
        match &self[..] {
            [only] => only.to_value(),
            names => Value::Array(names.iter().map(Typed::to_value).collect()),
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let names = match value {
            Value::String(names) => Some(names.split(',').map(|name| name.trim().to_owned()).collect()),
            Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        names.ok_or_else(|| expected("a name in quotes, or a list of such names", value))
    }
}

impl Typed for bool {
    fn to_value(&self) -> Value {
        Value::Boolean(*self)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| expected("true or false", value))
    }
}

impl Typed for u16 {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| expected("a whole number from 0 to 65535", value))
    }
}

impl Typed for Option<u16> {
    /// Nothing is an empty text: a file of settings has no other word for it.
    fn to_value(&self) -> Value {
        self.map_or_else(|| Value::String(String::new()), |number| number.to_value())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        if value.as_str().is_some_and(|text| text.trim().is_empty()) {
            Ok(None)
        } else {
            u16::from_value(value).map(Some)
        }
    }
}

impl Typed for u32 {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| expected("a whole number that is not negative", value))
    }
}

impl Typed for f32 {
    fn to_value(&self) -> Value {
        // By way of text, so that 0.3 does not become 0.30000001192092896.
        Value::Float(self.to_string().parse().unwrap_or_else(|_| f64::from(*self)))
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        number
            .filter(|number| number.is_finite())
            .map(|number| number as Self)
            .ok_or_else(|| expected("a number", value))
    }
}

/// The value as the type the setting has.
fn typed_like<T: Typed>(_setting: &T, value: &Value) -> Result<T, String> {
    T::from_value(value)
}

fn expected(what: &str, got: &Value) -> String {
    format!("it must be {what}, not {got}")
}

fn some(text: &impl AsRef<str>) -> Result<(), String> {
    if text.as_ref().trim().is_empty() { Err("it must not be empty".into()) } else { Ok(()) }
}

fn ip(text: &String) -> Result<(), String> {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        Ok(())
    } else {
        Err(format!("it must be an IP address such as 203.0.113.7, not {text:?}"))
    }
}

fn address(text: &String) -> Result<(), String> {
    let base = reqwest::Url::parse(text).ok();
    if base.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        Ok(())
    } else {
        Err(format!("it must be an address such as https://huggingface.co, not {text:?}"))
    }
}

fn within<T: PartialOrd + std::fmt::Display>(range: RangeInclusive<T>) -> impl Fn(&T) -> Result<(), String> {
    move |value| {
        if range.contains(value) {
            Ok(())
        } else {
            Err(format!("it must be from {} to {}, not {value}", range.start(), range.end()))
        }
    }
}

/// A chain has at least one engine, and each of those there are at most once.
fn chain<E: Kind + ?Sized>(names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Err("it must name at least one engine".into());
    }
    for (at, name) in names.iter().enumerate() {
        known(find::<E>(name))?;
        if names[..at].contains(name) {
            return Err(format!("it names '{name}' twice"));
        }
    }
    Ok(())
}

fn card(name: &str) -> Result<(), String> {
    if name.is_empty() { Ok(()) } else { Card::named(name).map(|_| ()).map_err(|error| error.to_string()) }
}

fn known<T>(found: Result<T, anchor_engines::slot::UnknownEngine>) -> Result<(), String> {
    found.map(|_| ()).map_err(|error| error.to_string())
}
