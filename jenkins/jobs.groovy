// The folder and the jobs of a new controller, for the plugin job-dsl; casc.yaml names this file, and Jenkins runs it
// whenever it starts. Their one source is `trainyard jenkins apply`: the files that `trainyard jenkins export`
// writes are what apply would create: `<full name>.xml` in the folder TRAINYARD_JOBS.
//
// A controller that has jobs is left alone: apply keeps our jobs up to date, and builds have put their triggers into them. Jobs
// are not loaded yet when this runs, so it checks the disk. What cannot be read must not keep Jenkins from starting.

def exported = new File(System.getenv('TRAINYARD_JOBS') ?: '/usr/share/jenkins/jobs')
def home = System.getenv('JENKINS_HOME')
def items = [:]
if (home && exported.directory && !new File(home, 'jobs').list()) {
    try {
        exported.eachFileRecurse { file ->
            if (file.name.endsWith('.xml')) {
                def parser = new XmlParser()
                parser.trimWhitespace = false
                items[exported.toPath().relativize(file.toPath()).toString() - ~/\.xml$/] = parser.parse(file)
            }
        }
    } catch (Exception e) {
        println "$exported cannot be read, trainyard jenkins apply will create the jobs: $e"
        items.clear()
    }
}

items.sort { it.key.count('/') }.each { fullName, wanted ->
    if (wanted.name() == 'flow-definition') {
        pipelineJob(fullName) {
            configure { job ->
                job.children().clear()
                wanted.children().each { job.append(it) }
            }
        }
    } else {
        folder(fullName) {
            description(wanted.description.text())
        }
    }
}
