#!/bin/bash
# `redpanda start`: a Kafka broker with the listeners and addresses of the flags.
set -euo pipefail
for flag; do
    case $flag in
    --kafka-addr=*) listeners=${flag#*=} ;;
    --advertise-kafka-addr=*) advertised=${flag#*=} ;;
    esac
done
data=/var/lib/redpanda/data
java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/kafka/*')
cat >/tmp/server.properties <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:29093
controller.listener.names=CONTROLLER
listeners=${listeners},CONTROLLER://127.0.0.1:29093
advertised.listeners=${advertised}
listener.security.protocol.map=INTERNAL:PLAINTEXT,HOST:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
log.dirs=$data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
sed -i 's#internal://#INTERNAL://#g; s#host://#HOST://#g' /tmp/server.properties
[ -e "$data/meta.properties" ] || "${java[@]}" kafka.tools.StorageTool format -t cHVuY3R1YWwtbG9jYWwtMQ -c /tmp/server.properties
exec "${java[@]}" kafka.Kafka /tmp/server.properties
