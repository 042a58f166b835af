use serde_json::{Value, json};

use super::*;
use crate::models::testing::{FakeHub, Fault, access, copy, entry, model, weights};
use crate::models::{Damage, find, is_here, remove, verify};

const QUIET: fn(Step<'_>) = |_| {};

/// A server with the files of a small model, and more.
async fn hub() -> FakeHub {
    FakeHub::start(&[
        ("README.md", b"read me"),
        ("config.json", b"{}"),
        ("weights/model-1.bin", &weights(300)),
        ("weights/model-2.bin", &weights(200)),
        ("other.bin", &weights(150)),
    ])
    .await
}

fn small() -> Model {
    model(&["config.json", "weights/*.bin"], &["LICENSE*"])
}

/// What comes of pulling from this server, as text.
async fn refusal(hub: &FakeHub) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = pull(&small(), &access(folder.path(), hub), None, &QUIET).await.unwrap_err();
    assert!(!folder.path().join("test--model/config.json").exists());
    error.to_string().replace(&hub.address, "http://hub")
}

#[tokio::test]
async fn what_is_wanted_comes_and_nothing_else() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let (model, access) = (small(), access(folder.path(), &hub));
    assert!(!is_here(&model, &access).await);
    let pulled = pull(&model, &access, None, &QUIET).await.unwrap();
    assert_eq!(pulled, Pulled { files: 3, bytes: 502, already: false });
    assert!(is_here(&model, &access).await);
    let place = folder.path().join("test--model");
    assert_eq!(std::fs::read(place.join("weights/model-1.bin")).unwrap(), weights(300));
    assert!(!place.join("other.bin").exists() && !place.join("README.md").exists());
    assert_eq!(remove(&model, &access).await.unwrap(), 502);
    assert!(!place.exists() && !is_here(&model, &access).await);
    assert_eq!(remove(&model, &access).await.unwrap(), 0);
}

#[tokio::test]
async fn the_list_may_come_in_pages() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let page = json!([entry("config.json", b"{}"), { "type": "directory", "path": "weights", "oid": "00" }]);
    // A mirror passes on Hugging Face's own address, and is asked itself.
    hub.list(200, page).next_page("https://huggingface.co/api/models/test/model/tree/main?cursor=2");
    hub.list(200, json!([entry("weights/model-1.bin", &weights(300))]));
    let pulled = pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
    assert_eq!(pulled.files, 2);
}

#[tokio::test]
async fn the_token_goes_to_the_mirror_and_to_nobody_else() {
    let (hub, elsewhere, folder) = (hub().await, hub().await, tempfile::tempdir().unwrap());
    // Hugging Face renames on its own host, and sends large files from another one.
    hub.fault(Fault::Redirect("/renamed/model/resolve/main/config.json".into()));
    hub.fault(Fault::Redirect(format!("{}/blob/resolve/main/config.json", elsewhere.address)));
    pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
    let renamed = hub.seen().into_iter().find(|seen| seen.path.starts_with("/renamed/")).unwrap();
    assert_eq!(renamed.authorised.as_deref(), Some("Bearer hf_secret"));
    assert!(hub.seen().iter().all(|seen| seen.authorised.is_some()));
    let seen = elsewhere.seen();
    assert_eq!((seen.len(), &seen[0].authorised), (1, &None));
}

#[test]
fn a_token_is_never_shown() {
    let token = Token::new("hf_secret\n").unwrap();
    assert_eq!(format!("{token:?} {:?}", token.header()), "Token(...) Sensitive");
    assert!(Token::new("  ").is_none() && Token::new("two\nlines").is_none());
}

#[tokio::test]
async fn a_redirect_in_circles_comes_to_an_end() {
    let hub = hub().await;
    for _ in 0..20 {
        hub.fault(Fault::Redirect("/test/model/resolve/main/config.json".into()));
    }
    insta::assert_snapshot!(refusal(&hub).await, @"http://hub: it redirects more than 8 times. Check models.mirror");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let hub = hub().await;
    hub.list(401, Value::Null).list(403, Value::Null).list(404, Value::Null).list(200, json!({ "not": "a list" }));
    let mut texts = Vec::new();
    for _ in 0..4 {
        texts.push(refusal(&hub).await);
    }
    hub.fault(Fault::Status(403, "You have to be in the list of people who accepted"));
    texts.push(refusal(&hub).await);
    hub.fault(Fault::Status(404, ""));
    texts.push(refusal(&hub).await);
    let folder = tempfile::tempdir().unwrap();
    hub.list(401, Value::Null);
    let access = Access { token: None, ..access(folder.path(), &hub) };
    texts.push(pull(&small(), &access, None, &QUIET).await.unwrap_err().to_string());
    insta::assert_snapshot!(texts.join("\n"), @r#"
    test/model: the server answers 401. HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it, unless the repository is gone
    test/model: the server answers 403. HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it
    http://hub does not have test/model at revision main. Check models.mirror; on Hugging Face it may have moved
    http://hub: the list of test/model is not that of Hugging Face: invalid type: map, expected a sequence at line 1 column 0. Check models.mirror
    test/model: the server answers 403 and says "You have to be in the list of people who accepted". HF_TOKEN was sent: check at https://huggingface.co/test/model that its account has accepted the licence and may read it
    http://hub does not have config.json of test/model at revision main. Check models.mirror; on Hugging Face it may have moved
    test/model: the server answers 401. Accept its licence at https://huggingface.co/test/model, make a token that may read at https://huggingface.co/settings/tokens, and set it as HF_TOKEN, unless the repository is gone
    "#);
}

#[tokio::test]
async fn evil_and_broken_lists_are_refused_before_anything_is_written() {
    let hub = hub().await;
    let with = |path: &str| json!([entry("config.json", b"{}"), entry("weights/a.bin", b"a"), entry(path, b"evil")]);
    let mut texts = Vec::new();
    for path in ["../../.ssh/authorized_keys", "/etc/passwd", "weights/..\\x.bin", "weights/ü.bin", "config.json"] {
        hub.list(200, with(path));
        texts.push(refusal(&hub).await);
    }
    hub.list(200, json!([entry("config.json", b"{}")]));
    texts.push(refusal(&hub).await);
    hub.list(200, json!([{ "type": "file", "path": "config.json", "size": 2, "oid": "?" }]));
    texts.push(refusal(&hub).await);
    hub.list(200, (0..10_001).map(|index| entry(&index.to_string(), b"")).collect());
    texts.push(refusal(&hub).await);
    insta::assert_snapshot!(texts.join("\n"), @r#"
    the list of files of test/model is refused: it names "../../.ssh/authorized_keys". Check that models.mirror is a server you trust
    the list of files of test/model is refused: it names "/etc/passwd". Check that models.mirror is a server you trust
    the list of files of test/model is refused: it names "weights/..\\x.bin". Check that models.mirror is a server you trust
    the list of files of test/model is refused: "weights/ü.bin" is no name for a file of a model. Check that models.mirror is a server you trust
    the list of files of test/model is refused: it names config.json twice. Check that models.mirror is a server you trust
    the list of files of test/model is refused: it has no weights/*.bin, so this is not the model that was expected. Check that models.mirror is a server you trust
    the list of files of test/model is refused: config.json has no checksum but "?". Check that models.mirror is a server you trust
    the list of files of test/model is refused: it has more than 10000 files or 100 pages. Check that models.mirror is a server you trust
    "#);
}

#[tokio::test]
async fn without_room_nothing_is_fetched() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let access = Access { free_space: |_| Ok(100_000_000), ..access(folder.path(), &hub) };
    let error = pull(&small(), &access, None, &QUIET).await.unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(folder.path().to_str().unwrap(), "/models"), @"tested needs 536.87 MB more in /models, where 100.00 MB are free. Make room, or choose another folder with models.path");
    assert_eq!(hub.ranges(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_licence_is_accepted_once_and_that_is_written_down() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let higgs = find("higgs").unwrap();
    let model = Model { licence: higgs.licence, ..small() };
    let access = access(folder.path(), &hub);
    let refused = pull(&model, &access, None, &QUIET).await.unwrap_err();
    assert!(matches!(refused, ModelError::LicenceNotAccepted { .. }), "{refused}");
    assert!(hub.seen().is_empty());
    hub.fault(Fault::Status(404, ""));
    pull(&model, &access, Some("alex"), &QUIET).await.unwrap_err();
    pull(&model, &access, None, &QUIET).await.unwrap();
    let accepted = Record::read(&folder.path().join("test--model")).licence.unwrap();
    assert_eq!((&*accepted.name, &*accepted.by), (higgs.licence.name, "alex"));
    accepted.at.parse::<jiff::Timestamp>().unwrap();
}

#[tokio::test]
async fn what_verify_finds_the_next_pull_mends() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let (model, access) = (small(), access(folder.path(), &hub));
    pull(&model, &access, None, &QUIET).await.unwrap();
    assert_eq!(verify(&model, &access, &QUIET).await.unwrap(), []);
    let place = folder.path().join("test--model");
    let mut bent = weights(300);
    bent[123] ^= 1;
    std::fs::write(place.join("weights/model-1.bin"), bent).unwrap();
    std::fs::remove_file(place.join("weights/model-2.bin")).unwrap();
    std::fs::write(place.join("config.json"), "{} ").unwrap();
    let found: Vec<String> = verify(&model, &access, &QUIET).await.unwrap().iter().map(Damage::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @"
    config.json is damaged: it has 3 bytes instead of 2
    weights/model-1.bin is damaged: its SHA-256 is 331da66b9cc4bb1a1a024027a748b535c45195eca41c0f1301f8f270b970cde2 instead of b3809bdab490a15cf145409b9c055f4b093b6118ac349fa6817baedf103cac1b
    weights/model-2.bin is missing
    ");
    assert!(!is_here(&model, &access).await);
    let asked = hub.ranges().len();
    pull(&model, &access, None, &QUIET).await.unwrap();
    assert_eq!(hub.ranges().len() - asked, 3);
    assert_eq!(verify(&model, &access, &QUIET).await.unwrap(), []);
    assert_eq!(std::fs::read(place.join("weights/model-1.bin")).unwrap(), weights(300));
}

#[tokio::test]
async fn a_file_that_somebody_put_there_is_used_if_it_is_the_right_one() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let place = folder.path().join("test--model/weights");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("model-1.bin"), weights(300)).unwrap();
    std::fs::write(place.join("model-2.bin"), [0; 200]).unwrap();
    pull(&small(), &access(folder.path(), &hub), None, &QUIET).await.unwrap();
    assert_eq!(hub.ranges().len(), 2);
    assert_eq!(std::fs::read(place.join("model-2.bin")).unwrap(), weights(200));
}

#[tokio::test]
async fn another_pull_of_the_same_model_is_told() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    hub.fault(Fault::Stall);
    let (model, access) = (small(), access(folder.path(), &hub));
    let begun = tokio::sync::Notify::new();
    let progress = |step: Step<'_>| {
        if let Step::Begin { .. } = step {
            begun.notify_one();
        }
    };
    let second = async {
        begun.notified().await;
        pull(&model, &access, None, &QUIET).await
    };
    let (first, second) = tokio::join!(pull(&model, &access, None, &progress), second);
    first.unwrap();
    assert!(matches!(second, Err(ModelError::Busy { .. })), "{second:?}");
}

#[tokio::test]
async fn a_folder_of_models_is_copied_and_checked_without_a_network() {
    let (hub, from, folder) = (hub().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = small();
    pull(&model, &access(from.path(), &hub), None, &QUIET).await.unwrap();
    let asked = hub.seen().len();
    let offline = Access { from: Some(from.path().to_owned()), ..access(folder.path(), &hub) };
    assert_eq!(pull(&model, &offline, None, &QUIET).await.unwrap().bytes, 502);
    assert_eq!(verify(&model, &offline, &QUIET).await.unwrap(), []);
    remove(&model, &offline).await.unwrap();
    std::fs::write(from.path().join("test--model/weights/model-1.bin"), [7; 300]).unwrap();
    let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
    insta::assert_snapshot!(error, @"weights/model-1.bin of test/model is not what was announced: its checksum is d677143e1431e8bb62b612cc7bb2c06a5eabe3d673f93a47113f2621aabaf421 instead of b3809bdab490a15cf145409b9c055f4b093b6118ac349fa6817baedf103cac1b. It was thrown away; copy it to the folder again");
    assert_eq!(hub.seen().len(), asked);
}

/// Hugging Face's cache with the files of [`small`].
fn cache(root: &Path) {
    let commit = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
    let repository = root.join("hub/models--test--model");
    let snapshot = repository.join("snapshots").join(commit);
    std::fs::create_dir_all(snapshot.join("weights")).unwrap();
    std::fs::create_dir_all(repository.join("blobs")).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), commit).unwrap();
    let files = [("config.json", b"{}".to_vec()), ("weights/model-1.bin", weights(300))];
    for (path, content) in files {
        let about = entry(path, &content);
        let name = about["lfs"]["oid"].as_str().or(about["oid"].as_str()).unwrap();
        let blob = repository.join("blobs").join(name);
        std::fs::write(&blob, content).unwrap();
        std::os::unix::fs::symlink(blob, snapshot.join(path)).unwrap();
    }
}

#[tokio::test]
async fn hugging_faces_cache_is_copied_and_checked_by_the_names_of_its_blobs() {
    let (hub, from, folder) = (hub().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (model, name) = (small(), from.path().to_str().unwrap());
    let offline = Access { from: Some(from.path().to_owned()), ..access(folder.path(), &hub) };
    let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(name, "/disk"), @"/disk has no tested: neither test--model with the record of a finished pull, nor models--test--model with revision main as Hugging Face's cache has it. Pull it on a machine with a network and copy its folder");
    cache(from.path());
    assert_eq!(pull(&model, &offline, None, &QUIET).await.unwrap().bytes, 302);
    remove(&model, &offline).await.unwrap();
    let snapshot = from.path().join("hub/models--test--model/snapshots/c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00");
    std::fs::remove_file(snapshot.join("config.json")).unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    let error = pull(&model, &offline, None, &QUIET).await.unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(name, "/disk"), @"/disk has /disk/hub/models--test--model/snapshots/c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00/config.json, which is no link to a blob, so that nothing tells whether it is whole. Copy the cache with its links (cp -a)");
    assert!(hub.seen().is_empty());
}

#[tokio::test]
async fn ollamas_models_cannot_be_copied_for_it() {
    let (hub, folder) = (hub().await, tempfile::tempdir().unwrap());
    let model = Model { source: Source::Ollama("hf.co/a/b:Q4"), ..copy(find("mistral-small").unwrap()) };
    let tags = axum::Router::new().fallback(|| async { r#"{"models":[]}"# });
    let offline = Access {
        from: Some("/disk".into()),
        ollama: crate::models::testing::serve(tags).await,
        ..access(folder.path(), &hub)
    };
    insta::assert_snapshot!(pull(&model, &offline, None, &QUIET).await.unwrap_err(), @"/disk is not asked for mistral-small, because Ollama keeps its models itself. Copy the folder that OLLAMA_MODELS names (usually ~/.ollama/models) from a machine that has it");
}

#[test]
fn a_pull_can_be_moved_to_another_thread() {
    fn sendable<T: Send>(_: &T) {}
    let config = Config::of(&crate::config::PROFILES[0]);
    let access = Access::of(&config);
    sendable(&pull(find("voxtral").unwrap(), &access, None, &QUIET));
}
