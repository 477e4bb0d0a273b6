//! A web server in memory, which counts.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower_jwt_auth::key::remote::{FetchError, Fetcher};

#[derive(Clone, Default)]
pub(crate) struct Memory {
    documents: Arc<Mutex<HashMap<String, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
    down: Arc<AtomicBool>,
}

impl Memory {
    pub(crate) fn with(self, url: &str, document: Value) -> Self {
        self.put(url, document);
        self
    }

    pub(crate) fn put(&self, url: &str, document: Value) {
        self.documents.lock().unwrap().insert(url.into(), document);
    }

    pub(crate) fn down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Fetcher for Memory {
    async fn fetch(&self, request: Request<()>) -> Result<Response<Bytes>, FetchError> {
        let url = request.uri().to_string();
        self.asked.lock().unwrap().push(url.clone());
        if self.down.load(Ordering::SeqCst) {
            return Err(FetchError::new("down"));
        }
        let document = self
            .documents
            .lock()
            .unwrap()
            .get(&url)
            .map(Value::to_string);
        let mut response = Response::new(Bytes::new());
        match document {
            Some(document) => *response.body_mut() = document.into(),
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        Ok(response)
    }
}
