/** Pages in Debian's Chromium, headless, at their own origin on loopback. They fetch nothing from elsewhere. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Browser, chromium, type Page } from 'playwright-core'
import { findProgram } from './programs.ts'

/**
 * Keeps Chromium from contacting Google's hosts at its start, and lets it run as root, which it does only
 * without its sandbox.
 */
export const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** The policy of a careful page: only its own scripts, no eval, and WebSockets. */
const POLICY = "default-src 'none'; script-src 'self'; connect-src ws:"

export interface Pages {
  /** Opens a page with its own memory and cookies and the module loaded. */
  open(): Promise<Page>
  /** Chromium's version. */
  readonly version: string
  /** Closes everything. @throws an uncaught error of a page */
  close(): Promise<void>
}

/** @param module the script that the pages load @param flags more flags for Chromium */
export async function startBrowser(module: Uint8Array, flags: readonly string[] = []): Promise<Pages> {
  const server = createServer((request, response) => {
    response.setHeader('content-security-policy', POLICY)
    if (request.url === '/module.js') response.setHeader('content-type', 'text/javascript').end(module)
    else
      response
        .setHeader('content-type', 'text/html')
        .end('<!doctype html><title>a page</title><link rel="icon" href="data:,"><script type="module" src="module.js"></script>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const faults: unknown[] = []
  const browser: Browser = await chromium.launch({ executablePath: findProgram('chromium')!, args: [...FLAGS, ...flags] })
  return {
    version: browser.version(),
    async open() {
      const page = await (await browser.newContext()).newPage()
      page.on('pageerror', (error) => faults.push(error))
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
      return page
    },
    async close() {
      await browser.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      if (faults.length > 0) throw faults[0]
    },
  }
}
