#!/bin/bash
# The four commands of rpk that the compose file and infra/redpanda/topics/topics.sh use, by Kafka's own tools.
set -euo pipefail
tool() { java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/kafka/*' "$@"; }
server=(--bootstrap-server "${RPK_BROKERS:-127.0.0.1:9092}")
topics=org.apache.kafka.tools.TopicCommand
case "$1 $2" in
"cluster health")
    # Without a JVM, which a check every two seconds would be busy starting.
    (exec 3<>/dev/tcp/127.0.0.1/9092) && echo "Healthy:                          true" ;;
"topic list")
    echo "NAME  PARTITIONS  REPLICAS"
    tool "$topics" "${server[@]}" --list | sed 's/$/  ?  ?/' ;;
"topic create") tool "$topics" "${server[@]}" --create --topic "$3" --partitions "$5" --replication-factor "$7" ;;
"topic alter-config")
    tool kafka.admin.ConfigCommand "${server[@]}" --alter --entity-type topics --entity-name "$3" --add-config "$5" ;;
*)
    echo "rpk (stand-in): the command $* is missing in testing/compose/standins/rpk.sh" >&2
    exit 64 ;;
esac
