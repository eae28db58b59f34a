// Functions shared by the embedded PDS and PLC directory.
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

/** Import the installed package `name`, resolved from the package `importer` if given. */
export async function load(name, importer = undefined) {
  const root = path.join(process.env.STACK_PACKAGES, 'node_modules')
  const from = path.join(root, importer ?? '.', 'package.json')
  return import(pathToFileURL(createRequire(from).resolve(name)).href)
}

/** Make an Express app listen on one address, and add its process id to each response. */
export function listenOn(app, host = '127.0.0.1') {
  const listen = app.listen.bind(app)
  app.listen = (port) => {
    const server = listen(port, host)
    server.prependListener('request', (_request, response) => {
      response.setHeader('Process-Id', process.pid)
    })
    return server
  }
}
