//! A real browser, driven through ChromeDriver (W3C WebDriver).

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Starting a browser on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless Chromium. Dropping it closes it.
pub(crate) struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts a browser with these switches beside those a test machine needs.
    pub(crate) fn start(switches: &[String], size: (u32, u32)) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts; `./anchor test` installs it (package chromium-driver)");
        let base = format!("http://127.0.0.1:{port}/session");
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--autoplay-policy=no-user-gesture-required",
        ]
        .map(str::to_owned)
        .into();
        args.push(format!("--window-size={},{}", size.0, size.1));
        args.extend_from_slice(switches);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args, "prefs": { "profile.default_content_setting_values.media_stream_mic": 1 } },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Self { driver, session: base.clone() };
        let until = Instant::now() + PATIENCE;
        let session = loop {
            match send(&base, Some(&wanted)) {
                Ok(value) => break value,
                Err(problem) => assert!(Instant::now() < until, "no browser: {problem}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        browser.session = format!("{base}/{}", session["sessionId"].as_str().expect("a session has an id"));
        browser
    }

    /// Has every page run `script` before its own.
    pub(crate) fn before_pages(&self, script: &str) {
        let command = json!({ "cmd": "Page.addScriptToEvaluateOnNewDocument", "params": { "source": script } });
        self.post("goog/cdp/execute", &command);
    }

    /// Opens a page.
    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What `expression` is in the page.
    pub(crate) fn eval(&self, expression: &str) -> Value {
        self.post("execute/sync", &json!({ "script": format!("return ({expression});"), "args": [] }))
    }

    /// Runs statements in the page, with an argument they know as `arguments[0]`.
    pub(crate) fn run(&self, script: &str, argument: &Value) {
        self.post("execute/sync", &json!({ "script": script, "args": [argument] }));
    }

    /// Waits until `expression` is true in the page.
    pub(crate) fn wait(&self, what: &str, expression: &str, patience: Duration) {
        let until = Instant::now() + patience;
        while self.eval(expression) != json!(true) {
            assert!(
                Instant::now() < until,
                "{what} did not come; the page says:\n{}\nits console:\n{}",
                self.eval("document.body.innerText").as_str().unwrap_or_default(),
                self.console(),
            );
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// What the page wrote to its console.
    pub(crate) fn console(&self) -> String {
        let lines = self.post("se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().into_iter().flatten();
        lines.filter_map(|line| line["message"].as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Takes a picture of the page.
    pub(crate) fn screenshot(&self, file: &Path) {
        let picture = send(&format!("{}/screenshot", self.session), None).expect("a picture");
        let picture = BASE64_STANDARD.decode(picture.as_str().expect("in base64")).expect("in base64");
        std::fs::create_dir_all(file.parent().expect("a folder")).unwrap();
        std::fs::write(file, picture).unwrap();
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        send(&format!("{}/{path}", self.session), Some(body)).unwrap_or_else(|problem| panic!("{path}: {problem}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browsers when its session is deleted; killing it is for the case that it hangs.
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// One WebDriver command: POST with a body, GET without.
fn send(url: &str, body: Option<&Value>) -> Result<Value, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = match body {
        Some(body) => agent.post(url).send_json(body),
        None => agent.get(url).call(),
    };
    let mut answer = answer.map_err(|error| error.to_string())?;
    let mut json: Value = answer.body_mut().read_json().map_err(|error| error.to_string())?;
    let value = json["value"].take();
    match value.get("error") {
        Some(error) => Err(format!("{error}: {}", value["message"])),
        None => Ok(value),
    }
}
