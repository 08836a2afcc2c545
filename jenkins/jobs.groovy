// The folder and the jobs of a new controller, for the plugin job-dsl; casc.yaml names this file, and Jenkins runs it
// whenever it starts. What is to be there has one source, `trainyard jenkins apply`; the files that `trainyard jenkins
// export` writes are what apply would create: `<full name>.xml` in the folder TRAINYARD_JOBS.
//
// What this Jenkins has already is left alone: apply keeps it up to date, and builds have put their triggers into it. Jobs
// are not loaded yet when this runs, so it looks at the disk.

def exported = new File(System.getenv('TRAINYARD_JOBS') ?: '/usr/share/jenkins/jobs')
def standing = new File(System.getenv('JENKINS_HOME'), 'jobs')

def files = [:]
if (exported.directory) {
    exported.eachFileRecurse { file ->
        if (file.name.endsWith('.xml')) {
            files[exported.toPath().relativize(file.toPath()).toString() - ~/\.xml$/] = file
        }
    }
}

files.sort { it.key.count('/') }.each { fullName, file ->
    if (new File(standing, fullName.tokenize('/').first()).exists()) {
        return
    }
    def parser = new XmlParser()
    parser.trimWhitespace = false
    def wanted = parser.parse(file)
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
