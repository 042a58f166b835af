//! Licences: shown to people, and accepted by them.

use std::io::{self, BufRead, Write};

use super::{Model, ModelError, Record};
use std::path::Path;

/// Where people read what is shown, and how they answer.
pub struct Answers<'a> {
    /// What they read.
    pub show: &'a mut dyn Write,
    /// What they type, if they sit at a terminal.
    pub typed: Option<&'a mut dyn BufRead>,
    /// They accepted everything beforehand.
    pub accept: bool,
    /// Who they are.
    pub user: &'a str,
}

/// Shows a model's licence and has it accepted where it must be. Gives the name of the user who accepted it now, for
/// [`pull`](super::pull()); `None` if nothing had to be accepted, or if that was done before. `models` is the folder
/// the models lie in.
pub fn consent(model: &Model, models: &Path, answers: &mut Answers<'_>) -> Result<Option<String>, ModelError> {
    let licence = model.licence;
    let refused =
        || ModelError::LicenceNotAccepted { model: model.name, licence: licence.name, address: licence.address };
    // Somebody who does not see what is shown has not accepted it.
    show(model, answers).map_err(|_| refused())?;
    let before = Record::read(&model.folder_in(models)).licence;
    if !licence.must_be_accepted || before.is_some_and(|accepted| accepted.name == licence.name) {
        return Ok(None);
    }
    if !answers.accept {
        let typed = answers.typed.as_mut().ok_or_else(refused)?;
        let question = "Have you read it, and do you accept it? Type yes to accept: ";
        let asked = answers.show.write_all(question.as_bytes()).and_then(|()| answers.show.flush());
        asked.map_err(|_| refused())?;
        let mut line = String::new();
        // Nobody types more than a word here.
        let read = io::Read::take(typed, 64).read_line(&mut line);
        if read.is_err() || !line.trim().eq_ignore_ascii_case("yes") {
            return Err(refused());
        }
    }
    Ok(Some(answers.user.to_owned()))
}

fn show(model: &Model, answers: &mut Answers<'_>) -> io::Result<()> {
    let licence = model.licence;
    writeln!(answers.show, "{} ({}) is licensed as {}: {}", model.name, model.origin(), licence.name, licence.address)?;
    if !licence.notice.is_empty() {
        writeln!(answers.show, "{}", licence.notice)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::find;

    /// What is shown, and what comes of it.
    fn ask(model: &str, typed: Option<&str>, accept: bool) -> (String, Result<Option<String>, String>) {
        let models = tempfile::tempdir().unwrap();
        let (mut shown, mut typed) = (Vec::new(), typed.map(str::as_bytes));
        let typed = typed.as_mut().map(|typed| typed as &mut dyn BufRead);
        let mut answers = Answers { show: &mut shown, typed, accept, user: "alex" };
        let outcome = consent(find(model).unwrap(), models.path(), &mut answers);
        (String::from_utf8(shown).unwrap(), outcome.map_err(|error| error.to_string()))
    }

    #[test]
    fn a_free_licence_is_shown_and_nobody_is_asked() {
        let (shown, outcome) = ask("voxtral", None, false);
        insta::assert_snapshot!(shown, @"voxtral (mistralai/Voxtral-Mini-3B-2507) is licensed as Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0");
        assert_eq!(outcome, Ok(None));
    }

    #[test]
    fn the_notice_of_higgs_is_shown_and_yes_accepts_it() {
        let (shown, outcome) = ask("higgs", Some("yes\n"), false);
        insta::assert_snapshot!(shown, @"
        higgs (bosonai/higgs-tts-2-3b-base) is licensed as Boson Higgs Audio 2 Community License: https://huggingface.co/bosonai/higgs-audio-v2-generation-3B-base/blob/main/LICENSE
        Built with Higgs Materials licensed from Boson AI USA, Inc., Copyright Boson AI USA, Inc., All Rights Reserved and Meta Llama 3 licensed under the Meta Llama 3 Community License, Copyright Meta Platforms, Inc., All Right Reserved. Services with more than 100,000 annual active users need an expanded licence from Boson AI.
        Have you read it, and do you accept it? Type yes to accept:
        ");
        assert_eq!(outcome, Ok(Some("alex".into())));
        assert_eq!(ask("higgs", None, true).1, Ok(Some("alex".into())));
    }

    #[test]
    fn anything_but_yes_and_no_terminal_at_all_is_a_refusal() {
        for typed in [Some("\n"), Some("no\n"), Some("y\n"), Some(""), Some("yes, but\n"), None] {
            let outcome = ask("higgs-codec", typed, false).1;
            assert!(outcome.is_err(), "{typed:?}");
        }
        insta::assert_snapshot!(ask("higgs", None, false).1.unwrap_err(), @"the licence of higgs has to be accepted before it is downloaded: Boson Higgs Audio 2 Community License, https://huggingface.co/bosonai/higgs-audio-v2-generation-3B-base/blob/main/LICENSE. Read it, then run the command at a terminal or with --accept-licence");
    }
}
