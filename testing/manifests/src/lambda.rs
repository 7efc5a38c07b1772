//! AWS Lambda: a function and an event source mapping per event type.

use std::{io, path::Path};

use catalogue::TOPICS;

use crate::Manifest;

/// The SAM template. What a function needs beside its mapping is a resource in the head.
pub(crate) fn template(root: &Path) -> io::Result<Manifest> {
    Manifest::continuing(root, "infra/lambda/template.head.yaml", "infra/lambda/template.yaml", |head| {
        let types = TOPICS.iter().flat_map(|topic| topic.event_types().map(move |kind| (topic, kind)));
        types
            .filter(|(_, kind)| !head.contains(&format!("CodeUri: ../../target/lambda/{}/\n", kind.consumer())))
            .map(|(topic, kind)| {
                let (name, event) = (kind.consumer(), kind.as_str());
                format!(
                    "
  {resource}:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: ../../target/lambda/{name}/
      ReservedConcurrentExecutions: {partitions}
      Policies:
        - SQSSendMessagePolicy:
            QueueName: !GetAtt Discarded.QueueName
      Events:
        Topic:
          Type: MSK
          Properties:
            Stream: !Ref ClusterArn
            Topics: [{topic}]
            ConsumerGroupId: {name}
            StartingPosition: TRIM_HORIZON
            BatchSize: 10
            FilterCriteria:
              Filters:
                - Pattern: '{{\"value\":{{\"type\":[\"{event}\"]}}}}'
            DestinationConfig:
              OnFailure:
                Destination: !GetAtt Discarded.Arn
",
                    resource = camel_case(name),
                    partitions = topic.partitions,
                    topic = topic.name,
                )
            })
            .collect()
    })
}

/// `task-created` as `TaskCreated`: the name of a resource has letters and digits alone.
fn camel_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, others) = word.split_at(1);
        first.to_uppercase() + others
    });
    words.collect()
}
