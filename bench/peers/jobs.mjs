// Functions of both programs: jobs on stdin, results on stdout, and a number of calls at a time.
import { createInterface } from 'node:readline'

/** Print that the program is ready, run the JSON job of each line, and print its JSON result. */
export async function serve(run) {
  print({ ready: true })
  for await (const line of createInterface({ input: process.stdin })) {
    print(await run(JSON.parse(line)))
  }
}

/** Call `work` with each item, at most `limit` at a time; return the results in the same order. */
export async function mapAtATime(limit, items, work) {
  const results = []
  const remaining = items.entries()
  const loop = async () => {
    for (const [index, item] of remaining) results[index] = await work(item)
  }
  await Promise.all(Array.from({ length: limit }, loop))
  return results
}

/** Call `work`; return its result, and the seconds and CPU seconds that it took. */
export async function measured(work) {
  const [start, before] = [performance.now(), process.cpuUsage()]
  const result = await work()
  const { user, system } = process.cpuUsage(before)
  return { result, seconds: (performance.now() - start) / 1000, cpu: (user + system) / 1e6 }
}

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
