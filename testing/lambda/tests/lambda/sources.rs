//! Invocation events in the formats of the AWS documentation.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

/// A request through an HTTP API in payload format 2.0. The body is base64, as for binary content types.
pub(crate) fn http_api(method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Value {
    let mut given = json!({
        "accept": "*/*", "host": "abc.execute-api.eu-central-1.amazonaws.com", "user-agent": "curl/8.10.1",
        "x-forwarded-for": "192.0.2.1", "x-forwarded-port": "443", "x-forwarded-proto": "https",
    });
    for (name, value) in headers {
        given[*name] = json!(value);
    }
    let mut event = json!({
        "version": "2.0", "routeKey": "ANY /v1/{proxy+}", "rawPath": path, "rawQueryString": query,
        "headers": given, "pathParameters": {"proxy": path.trim_start_matches("/v1/")}, "isBase64Encoded": false,
        "requestContext": {
            "accountId": "123456789012", "apiId": "abc", "domainName": "abc.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "abc", "requestId": "JKJaXmPLvHcESHA=", "routeKey": "ANY /v1/{proxy+}", "stage": "$default",
            "time": "24/Nov/2026:14:45:03 +0000", "timeEpoch": 1_795_531_503_000_u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                     "userAgent": "curl/8.10.1"},
        },
    });
    if let Some(body) = body {
        event["headers"]["content-type"] = json!("application/json");
        event["body"] = json!(BASE64_STANDARD.encode(body.to_string()));
        event["isBase64Encoded"] = json!(true);
    }
    event
}

/// A request through an application load balancer.
pub(crate) fn load_balancer(method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
    let headers: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "requestContext": {"elb": {"targetGroupArn":
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/alarm/0123456789abcdef"}},
        "httpMethod": method, "path": path, "queryStringParameters": {}, "headers": headers,
        "body": body.to_string(), "isBase64Encoded": false,
    })
}

/// Records of a topic, through MSK.
pub(crate) fn msk(topic: &str, values: &[Vec<u8>]) -> Value {
    let record = |(offset, value): (usize, &Vec<u8>)| {
        json!({"topic": topic, "partition": 0, "offset": offset, "timestampType": "CREATE_TIME",
               "timestamp": 1_795_531_503_000_u64, "key": BASE64_STANDARD.encode("key"), "headers": [],
               "value": BASE64_STANDARD.encode(value)})
    };
    let records: Vec<Value> = values.iter().enumerate().map(record).collect();
    json!({
        "eventSource": "aws:kafka", "bootstrapServers": "b-1.punctual.abc.c1.kafka.eu-central-1.amazonaws.com:9092",
        "eventSourceArn": "arn:aws:kafka:eu-central-1:123456789012:cluster/punctual/e9f754c6-4",
        "records": {format!("{topic}-0"): records},
    })
}

/// Messages of a queue.
pub(crate) fn sqs(bodies: &[Vec<u8>]) -> Value {
    let record = |body: &Vec<u8>| {
        json!({"messageId": Uuid::new_v4(), "receiptHandle": "AQEBwJnKyrHigUMZj6rY", "messageAttributes": {},
               "body": String::from_utf8_lossy(body), "md5OfBody": "7b270e59b47ff90a553787216d55d91d",
               "attributes": {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": "1795531503000",
                              "SentTimestamp": "1795531503000", "SenderId": "AIDAIENQZJOLO23YVJ4VO"},
               "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:task-created",
               "awsRegion": "eu-central-1"})
    };
    json!({"Records": bodies.iter().map(record).collect::<Vec<_>>()})
}

/// An event of a bus.
pub(crate) fn event_bridge(detail: &Value) -> Value {
    json!({"version": "0", "id": Uuid::new_v4(), "detail-type": detail["type"], "source": "punctual",
           "account": "123456789012", "time": "2026-11-24T14:45:03Z", "region": "eu-central-1", "resources": [],
           "detail": detail})
}
