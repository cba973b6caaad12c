/** The web page: one file that a person keeps (docs/page.md). */
import { render } from 'preact'
import { PACKAGE_VERSION } from '../version.ts'

function App() {
  return (
    <main>
      <h1>Asfaleia</h1>
      <p>Version {PACKAGE_VERSION}</p>
    </main>
  )
}

render(<App />, document.getElementById('app')!)
