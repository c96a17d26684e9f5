// Makes the calls that come as JSON lines on stdin, with Segment's own client, and prints what it could not deliver.
// node send.mjs HOST KEY
import { createInterface } from 'node:readline'
import { Analytics } from '@segment/analytics-node'

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, maxEventsInBatch: 100 })
const failed = []
analytics.on('error', ({ reason }) => failed.push(String(reason)))
let calls = 0
for await (const line of createInterface({ input: process.stdin })) {
  const { kind, ...call } = JSON.parse(line)
  analytics[kind](call)
  calls += 1
}
await analytics.closeAndFlush()
console.log(JSON.stringify({ calls, failed }))
