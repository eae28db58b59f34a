// What the embedded PDS and PLC directory have in common.
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

/** Import a package from the folder where they were installed, as `importer` would. */
export async function load(name, importer = undefined) {
  const root = path.join(process.env.STACK_PACKAGES, 'node_modules')
  const from = path.join(root, importer ?? '.', 'package.json')
  return import(pathToFileURL(createRequire(from).resolve(name)).href)
}

/** Make an Express app listen on the loopback alone, and sign its answers with the process id. */
export function keepToLoopback(app) {
  const listen = app.listen.bind(app)
  app.listen = (port) => {
    const server = listen(port, '127.0.0.1')
    server.prependListener('request', (_request, response) => {
      response.setHeader('Process-Id', process.pid)
    })
    return server
  }
}
